"""The protocol of a table: rows on disk, each read on access as a plain dict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inlay.recipes.data.rows.sample import DataError

__all__ = ["Index", "Row", "Table", "state_of"]

Index: TypeAlias = dict[str, NDArray[np.generic]]
"""Name -> one value for each row of the table, such as the position of the row in its file."""
Row: TypeAlias = tuple[str, "dict[str, Any] | DataError"]
"""The place of a row and its fields, or the reason why it cannot be read."""


class Table(Protocol):
    """Rows of one file, folder or data set."""

    name: str
    """The path or the name of the data set, for errors."""

    @property
    def index(self) -> Index:
        """The positions of the rows, known after :meth:`stream` or from an earlier process."""

    def restore(self, index: Index) -> None:
        """Take the positions of the rows from an earlier process."""

    def __len__(self) -> int:
        """The number of rows, known at the same time as :attr:`index`."""

    def where(self, row: int) -> str:
        """The place of a row, such as ``train.json, item 12``."""

    def take(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Some rows, in the given order.

        Raises:
            DataError: the file has changed.
        """

    def stream(self) -> Iterator[Row]:
        """All rows in order; reads the file once.

        Raises:
            DataError: the file as a whole cannot be read.
        """

    def state(self) -> list[Any] | None:
        """Plain values that change whenever the rows change; None if nothing may be kept for a later process."""

    def digest(self) -> str:
        """SHA-256 of the contents."""


def state_of(path: Path) -> list[int]:
    """Device, inode, size, and the times of the last change of contents and metadata in nanoseconds.

    A program can set back the time of the contents, but not that of the metadata.

    Raises:
        DataError: the file does not exist or cannot be read.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
