"""Tensors by key: loaded from a cache space, or computed and then written there or kept in memory."""

from __future__ import annotations

import math
import secrets
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from inlay.hub.errors import BundleError
from inlay.recipes.data.cache.store import CacheWarning, Space

__all__ = ["Filled", "fill"]

SHARD_BYTES = 64 << 20
SHARD_TENSORS = 4000
SHARD_SECONDS = 20.0
"""A shard is written at this size or age; a killed process loses one."""


class Filled(NamedTuple):
    """The result of :func:`fill`."""

    tensors: dict[str, Tensor]
    in_memory: int
    """Bytes of the tensors that are not mapped from disk."""


def fill(
    space: Space | None,
    shapes: Mapping[str, tuple[int, ...]],
    compute: Callable[[Sequence[str]], Sequence[Tensor]],
    *,
    group: int,
    item_bytes: int,
    memory: int,
    what: str,
    show: Callable[[str], None],
) -> Filled | None:
    """The tensors of all keys.

    Args:
        space: the cache on disk; None for memory only.
        shapes: key -> shape of its tensor.
        compute: keys -> their tensors, on the CPU.
        group: number of keys that are computed at once.
        item_bytes: bytes of one value.
        memory: the most bytes in memory, without a space or if writing to it fails.
        what: name of the values in messages, such as "image features".
        show: prints a line for the user.

    Returns:
        None if the tensors fit neither on the disk nor in memory.
    """
    found = space.find(shapes) if space else {}
    missing = [key for key in shapes if key not in found]
    if space:
        show(f"cache: {len(found):,} of {len(shapes):,} {what} are in {space.folder}, {len(missing):,} are computed")
        if missing and (total := sum(map(math.prod, shapes.values())) * item_bytes) > space.store.budget:
            show(f"cache: {what} take {total:,} bytes, more than cache_disk_mib allows; they are not written")
            space = None
    needed = sum(math.prod(shapes[key]) for key in missing) * item_bytes
    groups = [missing[start : start + group] for start in range(0, len(missing), group)]
    # Processes that fill one folder at once begin at different groups, and so find each other's results.
    begin = secrets.randbelow(len(groups)) if space and groups else 0
    waiting: dict[str, Tensor] = {}
    in_memory, since = 0, time.monotonic()

    def flush() -> None:
        """Write a shard; after an error, or without a space, keep its tensors in memory."""
        nonlocal space, waiting, in_memory, since
        if space and waiting:
            try:
                waiting = space.write(waiting)
            except (OSError, BundleError) as error:
                reason = f"{space.folder}: cannot be written: {error}. The run continues without writing there"
                warnings.warn(reason, CacheWarning, stacklevel=3)
                space = None
        found.update(waiting)
        in_memory += 0 if space else sum(tensor.nbytes for tensor in waiting.values())
        waiting, since = {}, time.monotonic()

    try:
        for keys in groups[begin:] + groups[:begin]:
            if space is None and needed > memory:
                return None
            if keys := [key for key in keys if key not in found]:
                waiting |= zip(keys, compute(keys), strict=True)
            size, old = sum(tensor.nbytes for tensor in waiting.values()), time.monotonic() - since > SHARD_SECONDS
            if space is None or old or size >= SHARD_BYTES or len(waiting) + group > SHARD_TENSORS:
                flush()
                if space:  # other processes may have written some of the rest
                    found |= space.find({key: shapes[key] for key in missing if key not in found})
    finally:
        flush()  # also after a file that cannot be read
    return Filled(found, in_memory)
