"""Passes errors of the processes that load data to the training process unchanged.

torch re-raises an error of a worker with the worker's whole traceback as its text. So an ``InlayError`` is passed as a
value in place of the batch, and is raised when the training process takes that batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from inlay.hub.errors import InlayError

__all__ = ["carried_collate", "carried_rows", "raised"]


class _Failure:
    """An error by its class and text, because not every ``InlayError`` can be unpickled."""

    def __init__(self, error: InlayError) -> None:
        self.kind, self.text = type(error), str(error)

    def error(self) -> InlayError:
        error = self.kind.__new__(self.kind)
        error.args = (self.text,)
        return error


class _Rows(Dataset[Any]):
    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        try:
            return self.rows[place]
        except InlayError as error:
            return _Failure(error)


class _Stream(IterableDataset[Any]):
    def __init__(self, rows: Iterable[Any]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self.rows
        except InlayError as error:
            yield _Failure(error)


def carried_rows(rows: Dataset[Any]) -> Dataset[Any]:
    """The same data, with the error in place of a row that cannot be read."""
    return _Stream(rows) if isinstance(rows, IterableDataset) else _Rows(rows)


def carried_collate(collate: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    """The same collation, with the error in place of a batch that cannot be collated."""
    return _Collate(collate)


class _Collate:
    # A class, because spawned workers unpickle it.
    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, rows: list[Any]) -> Any:
        for row in rows:
            if isinstance(row, _Failure):
                return row
        try:
            return self.collate(rows)
        except InlayError as error:
            return _Failure(error)


def raised(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches, in the training process.

    Raises:
        InlayError: the error of a worker, in place of its batch.
    """
    for batch in batches:
        if isinstance(batch, _Failure):
            raise batch.error()
        yield batch
