"""Atomic writes: readers, and the next start after a crash, find the complete old or new folder or file.

The new folder is written next to the old one and flushed to disk; one system call then exchanges the two. A lock on the
parent folder serialises writers. The kernel releases it when a process dies, so temporary folders found under the lock
belong to dead processes and are removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from inlay.hub.errors import BundleError
from inlay.hub.safety.safe_read import real_path

__all__ = ["TEMPORARY", "aside_of", "flush_folder", "replace_folder", "write_file"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, an exhausted quota or a file-size limit."""
TEMPORARY = ".inlay-tmp-"
"""Prefix of the names of temporary files and folders."""
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_CHUNK = 1 << 24


def replace_folder(
    folder: str | os.PathLike[str], files: Mapping[str, bytes], *, overwrite: bool, check_old: Callable[[Path], None]
) -> Path:
    """Write ``files`` as the whole content of ``folder``.

    Args:
        folder: the target; missing parents are created. A symbolic link is followed.
        files: the content of each file, by its path with ``/``.
        overwrite: replace an existing folder.
        check_old: called with the existing folder before it is replaced; raises if it must not be replaced.

    Returns:
        The real path of the folder.

    Raises:
        BundleError: the folder exists, must not be replaced, or cannot be written; it is then unchanged.
    """
    target = real_path(folder)
    shown = os.fspath(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent) as alone:
            if alone:
                _clean_up(target)
            if os.path.lexists(target):
                if not overwrite:
                    raise BundleError(shown, "already exists; choose another folder, or overwrite=True")
                check_old(target)
            fresh = target.with_name(f"{TEMPORARY}{_tag(target)}-{secrets.token_hex(4)}")
            try:
                _fill(fresh, files)
                _put(fresh, target)
                flush_folder(target.parent)
            finally:
                # This name now holds a partial write or, after the exchange, the old version.
                shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise BundleError(shown, _why(error, sum(map(len, files.values())))) from error
    return target


def write_file(path: Path, data: bytes) -> None:
    """Write one file, which appears complete under its name or not at all, and replaces a file of that name.

    A killed process can leave a temporary file (:data:`TEMPORARY`) in the same folder.

    Args:
        path: the target; its folder exists.
        data: its content.

    Raises:
        OSError: no space, no permission; the file is then unchanged.
    """
    fresh = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        _write(fresh, data)
        os.rename(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, after a file in it was renamed."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def aside_of(folder: Path) -> Path:
    """The temporary path of the old version on file systems that cannot exchange two folders."""
    return folder.with_name(f".inlay-old-{_tag(folder)}")


def _tag(target: Path) -> str:
    return hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]


class _Handle:
    """An open folder that is closed with its last reference, so that Ctrl-C cannot leave the lock held."""

    def __init__(self, folder: Path) -> None:
        self.number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.close = weakref.finalize(self, os.close, self.number)


@contextlib.contextmanager
def _locked(parent: Path) -> Iterator[bool]:
    handle = _Handle(parent)
    try:
        try:
            fcntl.flock(handle.number, fcntl.LOCK_EX)
            alone = True
        except OSError:  # some network file systems have no locks; then temporary folders may be in use and are kept
            alone = False
        yield alone
    finally:
        handle.close()


def _clean_up(target: Path) -> None:
    aside = aside_of(target)
    if aside.exists():
        if os.path.lexists(target):
            shutil.rmtree(aside)
        else:
            os.rename(aside, target)
    for leftover in target.parent.glob(f"{TEMPORARY}{_tag(target)}-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _fill(fresh: Path, files: Mapping[str, bytes]) -> None:
    fresh.mkdir()
    folders = {fresh}
    for name, data in files.items():
        path = fresh / name
        path.parent.mkdir(exist_ok=True)
        folders.add(path.parent)
        _write(path, data)
    for folder in folders:
        flush_folder(folder)


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left[:_CHUNK]) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _put(fresh: Path, target: Path) -> None:
    if not os.path.lexists(target):
        os.rename(fresh, target)
    elif not _exchange(fresh, target):
        aside = aside_of(target)
        try:
            os.rename(target, aside)
            os.rename(fresh, target)
        except BaseException:
            if not os.path.lexists(target):
                os.rename(aside, target)
            raise
        shutil.rmtree(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system does not support it."""
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        if not hasattr(libc, "renamex_np"):
            return False
        failed = libc.renamex_np(first, second, 2)  # RENAME_SWAP
    elif hasattr(libc, "renameat2"):
        failed = libc.renameat2(-100, first, -100, second, 2)  # AT_FDCWD, RENAME_EXCHANGE
    else:
        return False
    if failed and (code := ctypes.get_errno()) not in _NO_EXCHANGE:
        raise OSError(code, os.strerror(code), os.fspath(other))
    return not failed


def _why(error: OSError, size: int) -> str:
    if error.errno in DISK_FULL:
        return f"no space left for {size} bytes; nothing was changed. Free some space and save again"
    reason = error.strerror or str(error)
    return f"cannot be written: {reason[:1].lower()}{reason[1:]}; nothing was changed"
