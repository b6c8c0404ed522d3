"""Errors of the processes that load data, carried to the training process as they are.

torch raises an error of a worker anew with the worker's whole traceback as its text. So an error of ours travels as a
value in the place of the batch, and is raised when the training process takes that batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from inlay.hub.errors import InlayError

__all__ = ["carried_collate", "carried_rows", "raised"]


class _Failure:
    """An error by its class and text, because not every error of ours can be unpickled."""

    def __init__(self, error: InlayError) -> None:
        self.kind, self.text = type(error), str(error)

    def error(self) -> InlayError:
        made = self.kind.__new__(self.kind)
        made.args = (self.text,)
        return made


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
    """The same data, with an error of ours in the place of a row that cannot be read."""
    return _Stream(rows) if isinstance(rows, IterableDataset) else _Rows(rows)


def carried_collate(collate: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    """The same collation, with an error of ours in the place of a batch that cannot be made."""
    return _Collate(collate)


class _Collate:
    # A class, because workers that are spawned unpickle it.
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
        InlayError: the error of a worker, in the place of its batch.
    """
    for batch in batches:
        if isinstance(batch, _Failure):
            raise batch.error()
        yield batch
