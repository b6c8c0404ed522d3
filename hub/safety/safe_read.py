"""Reading untrusted folders and files.

Files are opened through one handle of the folder, so a reader keeps the version that it opened while a writer replaces
the folder. Only names that the format defines are opened, and only regular files are read. Symbolic links are refused,
except those that stay in the folder and those of the Hugging Face cache, whose ``snapshots/<commit>/<file>`` are links
to its blobs.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from inlay.hub.errors import BundleError
from inlay.hub.safety.text import shown

__all__ = ["IGNORED_NAMES", "OpenFolder", "read_file", "real_path"]

IGNORED_NAMES = frozenset({".git", ".gitattributes", ".gitignore", ".cache", ".DS_Store"})
"""Names that git, the Hub's client and file managers create in a folder; they are ignored."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Non-blocking, so that opening a named pipe returns immediately.
_REGULAR = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 24
_XET_HASH = re.compile(r"[0-9a-f]{64}")


def real_path(folder: str | os.PathLike[str]) -> Path:
    """The absolute path of a folder, symbolic links followed.

    Raises:
        BundleError: the text cannot be a path.
    """
    try:
        return Path(os.path.realpath(folder))
    except ValueError as error:
        raise BundleError(shown(os.fspath(folder)), _why(error, "expected the folder of a bundle")) from None


def read_file(path: str | os.PathLike[str], limit: int) -> bytes:
    """Read a small regular file, such as a key; symbolic links are followed.

    Args:
        path: the file.
        limit: largest size in bytes.

    Raises:
        BundleError: missing, not a regular file (a device, a named pipe, ...), or larger than ``limit``.
    """
    name = os.fspath(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # checked first: opening a device can have effects
            raise BundleError(name, "expected a regular file")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise BundleError(name, _why(error, "expected a readable file")) from None
    return _read(handle, name, limit)


class OpenFolder:
    """A folder held open for reading; use it in a ``with`` statement.

    Args:
        folder: the folder, or a symbolic link to it.

    Raises:
        BundleError: there is no such folder, or it is a file.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = real_path(folder)
        self.name = os.fspath(folder)
        """The folder as it was given, for errors."""
        try:
            self._handle = os.open(self.path, _DIRECTORY)
        except OSError as error:
            raise BundleError(os.fspath(folder), _why(error, "expected the folder of a bundle")) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    def replaced(self) -> bool:
        """Whether the path refers to another folder than the opened one."""
        try:
            now = os.stat(self.path)
        except OSError:
            return True
        held = os.fstat(self._handle)
        return (now.st_dev, now.st_ino) != (held.st_dev, held.st_ino)

    def names(self, allowed: frozenset[str]) -> frozenset[str]:
        """List the files as paths with ``/``; in a snapshot of the Hub cache, only the allowed ones.

        Args:
            allowed: every path that the folder may contain.

        Raises:
            BundleError: names the files that are not allowed.
        """
        inner = {name.split("/")[0] for name in allowed if "/" in name}
        snapshot = self.path.parent.name == "snapshots"
        found = set(os.listdir(self._handle)) - IGNORED_NAMES
        paths = found - inner
        for name in found & inner:
            try:
                handle = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._handle)
            except OSError as error:
                raise BundleError(name, _why(error, "expected a real folder")) from None
            try:
                paths |= {f"{name}/{item}" for item in os.listdir(handle)}
            finally:
                os.close(handle)
        if snapshot:  # a repository may hold a licence and pictures, which other programs download into the cache
            paths &= allowed
        if extra := sorted(paths - allowed, key=ascii):
            listed = ", ".join(shown(name) for name in extra[:5])
            known = {name.casefold() for name in allowed}
            case = " (upper and lower case count)" if any(name.casefold() in known for name in extra) else ""
            if "inlay.json" not in paths:
                reason = f"expected a bundle or a run folder, got a folder without inlay.json that holds {listed}"
                raise BundleError(shown(self.name), reason)
            raise BundleError(shown(extra[0]), f"not a file of a bundle{case}; move it out of the folder: {listed}")
        return frozenset(paths)

    def read(self, name: str, limit: int) -> bytes:
        """Read one file.

        Args:
            name: an allowed path, as returned by :meth:`names`.
            limit: largest size in bytes; a larger file is not read at all.

        Raises:
            BundleError: missing, not a regular file, a link that leaves the folder, or larger than ``limit``.
        """
        try:
            handle = self._open(name)
        except OSError as error:
            raise BundleError(name, _why(error, "expected a readable file")) from None
        return _read(handle, name, limit)

    def _open(self, name: str) -> int:
        folder, opened = self._handle, []
        *parents, last = name.split("/")
        try:
            for parent in parents:
                folder = os.open(parent, _DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                opened.append(folder)
            status = os.lstat(last, dir_fd=folder)
            if not stat.S_ISLNK(status.st_mode):
                if not stat.S_ISREG(status.st_mode):  # checked first: opening a device can have effects
                    raise BundleError(name, "expected a regular file")
                return os.open(last, _REGULAR, dir_fd=folder)
        finally:
            for handle in opened:
                os.close(handle)
        target = Path(os.path.realpath(self.path / name))
        if not target.is_relative_to(self.path) and not self._in_cache(target):
            raise BundleError(name, "a symbolic link that leaves the folder; replace it with the file itself")
        if not stat.S_ISREG(os.lstat(target).st_mode):
            raise BundleError(name, "expected a symbolic link to a regular file")
        return os.open(target, _REGULAR)

    def _in_cache(self, target: Path) -> bool:
        """Whether a file is a blob of the Hub cache that this folder is a snapshot of.

        Blobs are in ``models--x--y/blobs/``; since huggingface_hub 2.4 blobs that were downloaded through Xet are links
        to ``blobs/<two hex digits>/`` of the whole cache.
        """
        snapshots = self.path.parent
        if snapshots.name != "snapshots":
            return False
        repo = snapshots.parent
        shared = Path(os.path.realpath(repo.parent / "blobs" / target.name[:2]))
        return target.parent == Path(os.path.realpath(repo / "blobs")) or (
            _XET_HASH.fullmatch(target.name) is not None and target.parent == shared
        )


def _read(handle: int, name: str, limit: int) -> bytes:
    """Read an open regular file of at most ``limit`` bytes, and close it."""
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(name, "expected a regular file")
        if status.st_size > limit:
            raise BundleError(name, f"expected at most {limit} bytes, got {status.st_size}")
        chunks, left = [], limit + 1
        while left and (chunk := os.read(handle, min(left, _CHUNK))):
            chunks.append(chunk)
            left -= len(chunk)
    except OSError as error:
        raise BundleError(name, _why(error, "expected a readable file")) from None
    finally:
        os.close(handle)
    if not left:
        raise BundleError(name, f"expected at most {limit} bytes, but the file grew while it was read")
    return b"".join(chunks)


def _why(error: Exception, expected: str) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{expected}: {reason[:1].lower()}{reason[1:]}"
