"""A new folder that appears complete under its name, or not at all; nothing that is there is changed.

The files are written into a temporary folder beside it, which is renamed at the end and removed on any exception. The
temporary folder of a killed process is removed by the next export to the same place: a lock tells whether its process
is alive.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from inlay.adapters.export.target import ExportError
from inlay.hub.safety.atomic import DISK_FULL

__all__ = ["TEMPORARY", "check_new", "check_space", "new_folder"]

TEMPORARY = ".inlay-export-"
"""How the names of temporary folders begin."""
_FULL_TEXTS = ("No space left", "Disk quota", "File too large")


def check_new(output: Path) -> None:
    """Check that a folder can be written.

    Raises:
        ExportError: something has this name, or its parent is a file.
    """
    if os.path.lexists(output):
        raise ExportError(f"{output}: already exists; choose a new folder, since an export replaces nothing")
    if not (parent := _existing(output)).is_dir():
        raise ExportError(f"{output}: {parent} is not a folder; choose another place")


def check_space(folder: Path, size: int) -> None:
    """Check that a file system has room, before hours of writing.

    Args:
        folder: in the file system; it exists, or one of its parents.
        size: bytes that will be written.

    Raises:
        ExportError: there is less.
    """
    free = shutil.disk_usage(_existing(folder)).free
    if size > free:
        raise ExportError(
            f"{folder.parent}: expected {size:,} free bytes for the exported weights, got {free:,}; free some space, "
            "or give an --output on another disk"
        )


@contextlib.contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A context with an empty temporary folder, which becomes ``output`` when it is left without an exception.

    Raises:
        ExportError: something has the name ``output``, or the folder cannot be written; nothing stays of it.
    """
    check_new(output)
    start = f"{TEMPORARY}{hashlib.sha256(os.fsencode(output.name)).hexdigest()[:16]}-"
    with _explained(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(output.parent, start)
        fresh = output.parent / f"{start}{secrets.token_hex(4)}"
        fresh.mkdir()
    try:
        with _explained(output), _locked(fresh):
            yield fresh
            _flush(fresh)
            check_new(output)
            os.rename(fresh, output)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # after the rename nothing has this name


def _existing(path: Path) -> Path:
    """The path or its nearest parent that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


@contextlib.contextmanager
def _explained(output: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        full = number in DISK_FULL or any(text in str(error) for text in _FULL_TEXTS)
        if number is None and not full:
            raise  # of a library that read the files back
        reason = "no space left; free some space and export again" if full else str(error)
        raise ExportError(f"{output}: cannot be written: {reason}. Nothing was changed") from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; some network file systems have none."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _remove_leftovers(parent: Path, start: str) -> None:
    """Remove temporary folders of processes that ended, which the kernel took the lock from."""
    for leftover in parent.glob(f"{start}*"):
        handle = os.open(leftover, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(leftover, ignore_errors=True)
        except OSError:
            continue  # it is in use, or this file system has no locks
        finally:
            os.close(handle)


def _flush(folder: Path) -> None:
    """Write everything in a folder to disk, files before the folders that name them."""
    for place in [*sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True), folder]:
        handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
