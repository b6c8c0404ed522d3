"""A ``datasets.Dataset`` as a table: Parquet, CSV, Arrow, saved folders, image folders and data sets of the Hub.

``datasets`` maps the rows from Arrow files on disk. Media are not decoded: an image column gives ``{"bytes", "path"}``.
Arrow gives every row all columns, so a value that is null counts as missing. Class labels are given by their names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.rows.tables.base import Index, Row

__all__ = ["ArrowTable", "row_of"]

_BLOCK = 256
_MEDIA = {"bytes", "path"}


class ArrowTable:
    """The rows of a data set.

    Args:
        data: a ``datasets.Dataset``.
        name: its path or name, for errors.
        state: plain values that change whenever the rows change; None if that is not known.
    """

    def __init__(self, data: Any, name: str, state: list[Any] | None) -> None:
        self.data, self.name, self._state = data, name, state
        self.labels = {field: kind for field, kind in data.features.items() if hasattr(kind, "int2str")}
        if not len(data):
            raise DataError(f"{name}: expected at least one record, got none")

    @property
    def index(self) -> Index:
        """Empty: Arrow knows where its rows are."""
        return {}

    def restore(self, index: Index) -> None:
        """Nothing to do."""

    def __len__(self) -> int:
        return len(self.data)

    def where(self, row: int) -> str:
        """The place of a row, counted from 0."""
        return f"{self.name}, row {row}"

    def take(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Some rows, in the given order."""
        from datasets.formatting import query_table

        if not len(rows):
            return []
        found = query_table(self.data._data, list(rows), indices=self.data._indices).to_pylist()
        return [row_of(values, self.labels) for values in found]

    def stream(self) -> Iterator[Row]:
        """All rows in order."""
        for start in range(0, len(self), _BLOCK):
            numbers = range(start, min(start + _BLOCK, len(self)))
            for number, row in zip(numbers, self.take(numbers), strict=True):
                yield self.where(number), row

    def state(self) -> list[Any] | None:
        """Plain values that change whenever the rows change."""
        return self._state

    def digest(self) -> str:
        """SHA-256 of the rows."""
        found = hashlib.sha256()
        for start in range(0, len(self), _BLOCK):
            for row in self.take(range(start, min(start + _BLOCK, len(self)))):
                found.update(repr(row).encode("utf-8", "surrogatepass"))
        return found.hexdigest()


def row_of(values: dict[str, Any], labels: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row of ``datasets`` that are not null.

    Args:
        values: all columns.
        labels: column of class labels -> its ``datasets.ClassLabel``.
    """
    for field, kind in labels.items():
        if isinstance(values.get(field), int) and values[field] >= 0:
            values[field] = kind.int2str(values[field])
    return _without_nulls(values)


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    """An object without the fields that are null; a medium ``{"bytes", "path"}`` keeps both."""
    return {name: _plain(item) for name, item in value.items() if item is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return value if value.keys() == _MEDIA else _without_nulls(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
