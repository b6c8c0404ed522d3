"""Opening untrusted media files: allowed paths, and regular files only. Used for pictures, sounds and clips.

Encoded bytes in memory are opened in the same way. No path is fetched from a network. Only regular files are read:
reading a pipe can block for ever, and a device such as ``/dev/zero`` has no end. With a `root`, symbolic links are
resolved before the path is compared with it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from inlay.adapters.media.errors import MediaError
from inlay.adapters.media.sources import IN_MEMORY, EncodedMedium
from inlay.hub.safety.text import shown

__all__ = ["MediaError", "opened", "path_inside"]

_URL = re.compile(r"[a-z][a-z0-9+.-]+:/|data:|file:", re.IGNORECASE)
_ABSOLUTE = re.compile(r"[/\\]|[a-z]:", re.IGNORECASE)
_SLASH = re.compile(r"[/\\]")
_NONBLOCK = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def path_inside(source: str, root: Path) -> Path:
    """Join a relative path from a data file with its root folder, without touching the file system.

    Args:
        source: a relative path, with forward slashes.
        root: the folder.

    Raises:
        MediaError: an empty path, a URL, an absolute path (of any system), or one with a ``..``.

    Example:
        >>> path_inside("cards/1.png", Path("images")).as_posix()
        'images/cards/1.png'
    """
    if not source or "\0" in source:
        raise MediaError(f"expected a path below {root}, got {shown(source)}")
    if _URL.match(source):
        raise MediaError(
            f"expected a path below {root}, got the URL {shown(source)}; nothing is fetched from a network"
        )
    if _ABSOLUTE.match(source):
        raise MediaError(f"expected a path relative to {root}, got the absolute path {shown(source)}")
    if ".." in _SLASH.split(source):
        raise MediaError(f"{shown(source)} leaves the folder {root}; remove the '..'")
    return root / source


@contextmanager
def opened(source: str | Path | bytes | EncodedMedium, root: Path | None = None) -> Iterator[tuple[BinaryIO, str]]:
    """Open a regular file for reading; an ``OSError`` inside the block becomes a :class:`MediaError` too.

    Args:
        source: a path, or the bytes of an encoded file.
        root: folder that must contain the file after symbolic links are resolved; a relative path starts there.

    Yields:
        The file, and its name for error messages.

    Raises:
        MediaError: missing, not a regular file, outside of `root`, a URL, or unreadable.
    """
    if isinstance(source, (bytes, EncodedMedium)):
        with BytesIO(source) if isinstance(source, bytes) else source.open() as held:
            yield held, IN_MEMORY if isinstance(source, bytes) else source.name
        return
    path = _checked_path(source, root)
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer; the open file is checked, not the path.
        with os.fdopen(os.open(path, os.O_RDONLY | _NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MediaError(f"{path}: expected a file, got a folder or a device")
            yield file, str(path)
    except FileNotFoundError:
        raise MediaError(f"{path}: no such file; check the folder of media") from None
    except IsADirectoryError:
        raise MediaError(f"{path}: expected a file, got a folder or a device") from None
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror or error}") from error


def _checked_path(source: str | Path, root: Path | None) -> Path:
    if _URL.match(str(source)):
        raise MediaError(f"expected a path, got the URL {shown(str(source))}; nothing is fetched from a network")
    path = Path(source) if root is None else root / source
    try:
        inside = root is None or path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise MediaError(f"expected a path, got {shown(str(source))}: {error}") from None
    try:
        os.fsencode(path)
        named = "\0" not in str(source)
    except UnicodeEncodeError:  # a lone surrogate
        named = False
    if not named:
        raise MediaError(f"expected a path, got {shown(str(source))}")
    if not inside:
        raise MediaError(f"{path}: lies outside of the folder {root}; only files below it are read")
    return path
