"""Finding in a space what is there, computing the rest, and keeping that: on disk where it pays, else in memory."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from inlay.recipes.cache.estimate import Estimate, Times, time_shard
from inlay.recipes.cache.store import CacheWarning, Space

__all__ = ["Fill", "fill"]

SHARD_BYTES = 64 << 20
SHARD_SECONDS = 20.0
"""A shard is written when it is that large, or so old: what a killed process can lose."""


@dataclass(kw_only=True)
class Fill:
    """How to fill a space."""

    what: str
    """What is computed, in a word or two, for the user."""
    group: int
    """How many are computed at a time."""
    visits: float = 1.0
    """How often each comes in this run."""
    memory: int = 0
    """Bytes that may be kept in memory instead, where the disk is no choice."""
    digest_seconds: float = 0.0
    """What each digest took, which a run has to pay before it can look for anything."""
    show: Callable[[str], None] = print
    shape: Callable[[int], tuple[int, ...]] | None = None
    """Position in ``keys`` -> the shape that its tensor must have; a shard with another one is computed again."""
    prepare: Callable[[], Space] | None = None
    """Called before anything is computed; says where that belongs, if not where it was looked for."""
    shard_bytes: int = SHARD_BYTES
    shard_seconds: float = SHARD_SECONDS
    hits: int = field(default=0, init=False)
    misses: int = field(default=0, init=False)
    in_memory: int = field(default=0, init=False)
    """Bytes that went there."""


def fill(
    space: Space, keys: Sequence[str], compute: Callable[[list[int]], Sequence[Tensor]], how: Fill
) -> dict[str, Tensor] | None:
    """Tensors of all keys.

    Args:
        space: where they lie.
        keys: digests; one that comes twice is computed once.
        compute: positions in ``keys`` -> their tensors, on the CPU.
        how: sizes, and what is known of the run; it counts hits and misses.

    Returns:
        None where neither the disk nor the memory can hold them: they have to be computed each time.
    """
    distinct = {key: place for place, key in reversed(list(enumerate(keys)))}
    shapes = {} if how.shape is None else {key: how.shape(place) for key, place in distinct.items()}
    found = space.find(distinct, shapes)
    if len(found) < len(distinct) and how.prepare is not None and (other := how.prepare()) is not space:
        shapes = {} if how.shape is None else {key: how.shape(place) for key, place in distinct.items()}
        space, found = other, other.find(distinct, shapes)
    missing = sorted(place for key, place in distinct.items() if key not in found)
    how.hits, how.misses = len(found), len(missing)
    how.show(f"cache: {how.hits:,} of {len(distinct):,} {how.what} are there, {how.misses:,} are not")
    keeper = _Keeper(space, how)
    try:
        for start in range(0, len(missing), how.group):
            places = missing[start : start + how.group]
            if start:  # another process may have been here in the meantime
                found |= space.find([keys[place] for place in places], shapes)
                places = [place for place in places if keys[place] not in found]
            if not places:
                continue
            began = time.perf_counter()
            tensors = {keys[place]: tensor for place, tensor in zip(places, compute(places), strict=True)}
            if not start:
                keeper.decide(tensors, len(missing), time.perf_counter() - began)
            keeper.keep(tensors)
            if keeper.overflowing:
                return None
    finally:
        kept = keeper.finish()  # also what came before a file that cannot be read
    return None if keeper.overflowing else found | kept


class _Keeper:
    """Where new tensors go: a shard when there are enough of them, or memory."""

    def __init__(self, space: Space, how: Fill) -> None:
        self.space, self.how = space, how
        self.on_disk = True
        self.waiting: dict[str, Tensor] = {}
        self.kept: dict[str, Tensor] = {}
        self.since = time.monotonic()

    @property
    def overflowing(self) -> bool:
        return self.how.in_memory > max(0, self.how.memory)

    def decide(self, tensors: dict[str, Tensor], count: int, seconds: float) -> None:
        """Measure the disk with the first batch, and say what is done."""
        each = max(tensor.nbytes for tensor in tensors.values())
        times = Times(compute=seconds / len(tensors), write=0.0, check=self.how.digest_seconds, read=0.0)
        found = Estimate(
            count=count, bytes_each=each, room=self.space.store.room(), visits=self.how.visits, times=times
        )
        if found.fits:
            try:
                self.space.folder.mkdir(parents=True, exist_ok=True)
                taken = (value / len(tensors) for value in time_shard(self.space.folder, self.space.digest, tensors))
            except OSError as error:
                self._give_up(error)
                return
            write, check, read = taken
            times = replace(times, write=write, check=times.check + check, read=read)
            found = replace(found, times=times)
        if not found.fits:
            self._in_memory(found, "there is no room for that")
        elif not found.pays and not self.space.store.always:
            self._in_memory(found, "it would lose; --data.cache_when always keeps them for other runs")
        else:
            self.how.show(f"cache: {found}: kept in {self.space.folder}")

    def _in_memory(self, found: Estimate, reason: str) -> None:
        self.on_disk = False
        instead = "kept in memory" if found.needed <= self.how.memory else "computed each time"
        self.how.show(f"cache: {found}: not kept on disk ({reason}), {instead}")
        if found.needed > self.how.memory:  # nor need anything more be computed to find that out
            self.how.in_memory = found.needed

    def keep(self, tensors: dict[str, Tensor]) -> None:
        """Take them; write when it is time."""
        if not self.on_disk:
            self._hold(tensors)
            return
        # Not views: one of them would keep the whole batch.
        self.waiting |= {key: tensor.clone() for key, tensor in tensors.items()}
        size = sum(tensor.nbytes for tensor in self.waiting.values())
        if size >= self.how.shard_bytes or time.monotonic() - self.since >= self.how.shard_seconds:
            self._write()

    def _write(self) -> None:
        try:
            self.kept |= self.space.write(self.waiting)
        except OSError as error:
            self._give_up(error)
            self._hold(self.waiting)
        self.waiting, self.since = {}, time.monotonic()

    def _hold(self, tensors: dict[str, Tensor]) -> None:
        self.kept |= {key: tensor.clone() for key, tensor in tensors.items()}
        self.how.in_memory += sum(tensor.nbytes for tensor in tensors.values())

    def _give_up(self, error: OSError) -> None:
        self.on_disk = False
        warnings.warn(
            f"{self.space.folder}: cannot be written: {error}. The run goes on without writing there",
            CacheWarning,
            stacklevel=2,
        )

    def finish(self) -> dict[str, Tensor]:
        """Everything that was kept; the rest is written, and the index."""
        if self.waiting:
            self._write()
        if self.on_disk:
            with contextlib.suppress(OSError):  # an index is a hint
                self.space.flush()
        return self.kept
