"""One shard: a safetensors file that is called by the sha256 of its own bytes, so that damage cannot go unseen."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from inlay.hub.errors import InlayError

__all__ = [
    "ShardError",
    "check_shapes",
    "names_in",
    "packed",
    "passing_name",
    "read_shard",
    "shards_in",
    "write_file",
    "write_shard",
]

_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")
_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_ABANDONED = 3600.0
"""Seconds after which a part belongs to nobody: writing one takes a few."""


class ShardError(InlayError):
    """A shard is damaged, or not what its place says."""


def write_file(path: Path, data: bytes) -> None:
    """Write a file that appears whole under its name, or not at all.

    Raises:
        OSError: no room, no permission; nothing stays behind.
    """
    part = passing_name(path.parent)
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def passing_name(folder: Path) -> Path:
    """A file that no other process has, and that anybody clears away who finds it old."""
    return folder / f".{secrets.token_hex(8)}.part"


def packed(space: str, tensors: Mapping[str, Tensor]) -> tuple[str, bytes]:
    """The bytes of a shard, and their sha256 in front."""
    data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"format": "pt", "space": space})
    return hashlib.sha256(data).hexdigest(), data


def write_shard(folder: Path, space: str, tensors: Mapping[str, Tensor]) -> Path:
    """Write tensors by the digest of their medium.

    Args:
        folder: of the space.
        space: its digest, which the shard carries, so that it counts nowhere else.
        tensors: on the CPU.

    Raises:
        OSError: no room, no permission.
    """
    digest, data = packed(space, tensors)
    path = folder / f"{digest}.safetensors"
    write_file(path, data)
    return path


def read_shard(path: Path, space: str, digest: str | None = None) -> dict[str, Tensor]:
    """All tensors of a shard, once all its bytes are known to be right; mapped, so that they take no memory until used.

    Args:
        path: of the file.
        space: that it has to be of.
        digest: its sha256; the file's name if not given.

    Raises:
        ShardError: a byte differs from what was written, or it is of another space.
        OSError: it is gone, or may not be read.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != (digest or path.stem):
        raise ShardError(f"{path}: expected bytes with the sha256 in its name, got {found}: damaged or cut off")
    try:
        with safe_open(path, framework="pt") as held:
            if (held.metadata() or {}).get("space") != space:
                raise ShardError(f"{path}: this shard belongs to another space")
            return {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ShardError(f"{path}: expected safetensors: {error}") from error


def check_shapes(path: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...] | None]) -> None:
    """Check the tensors of a shard whose bytes are right: another program may have written it with other shapes.

    Args:
        path: of the shard, for the error.
        tensors: of the shard.
        shapes: name -> expected shape; None, or a name that is left out, is not checked.

    Raises:
        ShardError: a tensor of another shape, or one that holds no floating-point numbers.
    """
    for name, tensor in tensors.items():
        shape = shapes.get(name)
        if shape is not None and (tuple(tensor.shape) != shape or not tensor.is_floating_point()):
            raise ShardError(
                f"{path}: {name[:12]}...: expected floating-point numbers of shape {list(shape)}, "
                f"got {tensor.dtype} of shape {list(tensor.shape)}"
            )


def names_in(path: Path) -> list[str]:
    """The tensors' names, from the header alone; they are believed once :func:`read_shard` has seen all bytes.

    Raises:
        ShardError: it has no readable header.
        OSError: it is gone, or may not be read.
    """
    try:
        with safe_open(path, framework="pt") as held:
            return list(held.keys())
    except SafetensorError as error:
        raise ShardError(f"{path}: expected safetensors: {error}") from error


def shards_in(folder: Path) -> list[os.DirEntry[str]]:
    """The shards of a space: regular files of this form of name, and nothing else; abandoned parts are cleared away."""
    found = []
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    for entry in entries:
        with contextlib.suppress(OSError):  # another process may have removed it a moment ago
            if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                found.append(entry)
            elif _PART.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < time.time() - _ABANDONED:
                os.unlink(entry.path)
    return found
