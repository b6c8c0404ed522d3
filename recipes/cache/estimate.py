"""Does it pay? Bytes, seconds and break-even of a cache on disk, from what the first batch took.

Without a cache a medium costs ``compute`` each time it comes. With one it costs ``compute + write + check`` once and
``read`` each time, so that the cache is ahead from ``(compute + write + check) / (compute - read)`` times on, and never
where reading takes longer than computing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from inlay.recipes.cache.shard import packed, passing_name, read_shard, write_file

__all__ = ["Estimate", "Times", "time_shard"]


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds for one medium."""

    compute: float
    """Reading, decoding, encoding."""
    write: float
    """To the disk, with the wait until it is there."""
    check: float
    """Once a run: the digests of the medium and of what is cached of it."""
    read: float
    """Each time it is used; out of the system's memory where it just came from there, so a slow disk takes longer."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What caching the rest would take, and what it would give."""

    count: int
    """Media that are not there yet."""
    bytes_each: int
    room: int
    """Bytes that may be written, by the budget and the disk."""
    visits: float
    """How often a medium comes in this run."""
    times: Times

    @property
    def needed(self) -> int:
        """Bytes."""
        return self.count * self.bytes_each

    @property
    def break_even(self) -> float:
        """Visits from which on the cache is ahead; infinite where it never is.

        Example:
            >>> times = Times(compute=0.1, write=0.01, check=0.01, read=0.02)
            >>> round(Estimate(count=1, bytes_each=8, room=9, visits=1.0, times=times).break_even, 6)
            1.5
        """
        gain = self.times.compute - self.times.read
        spent = self.times.compute + self.times.write + self.times.check
        return spent / gain if gain > 0 else math.inf

    @property
    def fits(self) -> bool:
        """Whether there is room."""
        return self.needed <= self.room

    @property
    def pays(self) -> bool:
        """Whether this run alone comes out ahead of one that computes everything anew each time."""
        return self.visits >= self.break_even

    def __str__(self) -> str:
        times = self.times
        ahead = f"from {self.break_even:.1f} epochs on" if math.isfinite(self.break_even) else "never"
        return (
            f"{self.count:,} to compute, {_size(self.needed)} of {_size(self.room)} that may be written; each "
            f"{1e3 * times.compute:.1f} ms to compute ({self.count * times.compute:.0f} s in all), "
            f"{1e3 * times.write:.2f} to write, {1e3 * times.check:.2f} to check, {1e3 * times.read:.2f} to read: "
            f"ahead {ahead}, and this run reads each {self.visits:.1f} times (its measuring is one)"
        )


def time_shard(folder: Path, space: str, tensors: Mapping[str, Tensor]) -> tuple[float, float, float]:
    """Seconds to write, to check and to read a shard, which does not stay.

    Raises:
        OSError: no room, no permission.
    """
    # Under a name of its own: another process may have a shard of the same tensors here, to keep.
    path = passing_name(folder)
    started = time.perf_counter()
    digest, data = packed(space, tensors)
    write_file(path, data)
    written = time.perf_counter()
    try:
        held = read_shard(path, space, digest)
        checked = time.perf_counter()
        for tensor in held.values():
            tensor.clone()
        return written - started, checked - written, time.perf_counter() - checked
    finally:
        path.unlink(missing_ok=True)


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
