"""Writing a data file: whoever reads it sees the old file or the new one, never half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from inlay.recipes.data.rows.sample import DataError

__all__ = ["write_text"]


def write_text(path: Path, text: str) -> None:
    """Write a text file as a whole, in UTF-8.

    Args:
        path: the file; its folder must exist.
        text: what it shall hold.

    Raises:
        DataError: it cannot be written; an old file is as it was then.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error
        raise
