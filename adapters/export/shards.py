"""Safetensors in shards: one shard is in memory at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

__all__ = ["save_tensors", "write_shards"]

_SHARD_BYTES = 4 << 30


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """One safetensors file, with the permissions of any other file: safetensors itself lets its owner alone read it.

    Args:
        tensors: name -> tensor; none shares memory with another.
        path: a new file.
    """
    save_file(dict(tensors), path, {"format": "pt"})
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def write_shards(tensors: Mapping[str, Tensor], folder: Path, shard_bytes: int = _SHARD_BYTES) -> int:
    """Write tensors as ``model.safetensors``, or in numbered shards with an index if they are larger than one.

    Args:
        tensors: name -> tensor, read one after the other.
        folder: where to.
        shard_bytes: the size of a shard; a larger tensor is a shard of its own.

    Returns:
        Bytes of all tensors.
    """
    groups: list[list[str]] = []
    held: dict[str, Tensor] = {}
    total = 0

    def flush() -> None:
        groups.append(list(held))
        save_tensors(held, folder / f"part-{len(groups)}.safetensors")
        held.clear()

    for name in tensors:
        tensor = tensors[name]
        if held and sum(other.nbytes for other in held.values()) + tensor.nbytes > shard_bytes:
            flush()
        held[name] = tensor.contiguous().clone()  # safetensors refuses tensors that share memory
        total += tensor.nbytes
    flush()
    if len(groups) == 1:
        (folder / "part-1.safetensors").rename(folder / "model.safetensors")
        return total
    places: dict[str, str] = {}
    for number, names in enumerate(groups, 1):
        file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        (folder / f"part-{number}.safetensors").rename(folder / file)
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return total
