"""Writes a data file atomically: readers see the old file or the new one, never a part."""

from __future__ import annotations

from pathlib import Path

from inlay.hub.safety.atomic import write_file
from inlay.recipes.data.rows.sample import DataError

__all__ = ["write_text"]


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically.

    Args:
        path: the file; its folder must exist.
        text: the contents.

    Raises:
        DataError: the file cannot be written; an existing file is unchanged.
    """
    try:
        write_file(path, text.encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
