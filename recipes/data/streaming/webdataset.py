"""Pictures with captions out of webdataset shards, tars of ``7.jpg`` with ``7.txt`` or ``7.json``, as a stream.

Shards are shared out to processes and their loading workers; a buffer shuffles what comes out of them. The order is a
pure function of shards, seed, processes and workers, so that a run can take up again at any batch: what came before is
read over, but not decoded. Nothing is fetched from a network.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.streaming.braces import expand_braces
from inlay.recipes.data.streaming.tar_groups import DamagedShard, Group, tar_groups
from inlay.recipes.data.streaming.tar_sample import EXTENSIONS, BrokenSample, sample_of

__all__ = ["MAX_MEMBER_BYTES", "REASONS", "TarPairs", "shard_files"]

REASONS = ("member", "picture", "caption", "shard")
"""Why something was left out."""
MAX_MEMBER_BYTES = 1 << 25
"""The largest picture or caption that is read, before decoding: 32 MiB."""

_MAX_WORKERS = 1024
_log = logging.getLogger(__name__)


class TarPairs(IterableDataset[Sample]):
    """An endless (or finite) stream of pictures, each with its caption as the assistant's turn.

    A sample has one picture, ``jpg``, ``jpeg``, ``png`` or ``webp``, and a caption: the text of ``txt`` if there is
    one, otherwise the field ``caption`` of ``json``. Other members are not read.

    Args:
        shards: paths, each of which may have braces, such as ``shard-{000..127}.tar``.
        seed: of the order.
        buffer: so many samples wait, undecoded, to be drawn from; the shards come in a new random order in every
            pass. 0 for the order in the files.
        passes: how often every shard is read; None for endless.
        broken: ``raise`` stops at the first broken sample or shard, ``skip`` leaves it out and counts it in
            :attr:`skipped`. Of a damaged shard, what stands before the damage is used.
        batch_size: what the loader is told; needed for a start.
        start: batches that each process has taken already, for an endless stream. The next batch is the one that would
            have come, if seed, processes, workers and batch size are as they were.
        rank: number of this process; with `world` taken from ``torch.distributed`` if not given, or 0 of 1.
        world: number of processes.
        asked: what the user says besides the picture; empty for nothing.
        max_bytes: the largest member that is read.

    Raises:
        DataError: a shard that is no file, a start in a finite stream, or numbers that cannot be.

    Every process and worker needs a shard of its own in an endless stream. In a finite one, each sample comes exactly
    once a pass from one of them; some may have less than others, or nothing.
    """

    def __init__(
        self,
        shards: str | Path | Iterable[str | Path],
        *,
        seed: int = 0,
        buffer: int = 1000,
        passes: int | None = None,
        broken: Literal["raise", "skip"] = "raise",
        batch_size: int = 1,
        start: int = 0,
        rank: int | None = None,
        world: int | None = None,
        asked: str = "",
        max_bytes: int = MAX_MEMBER_BYTES,
    ) -> None:
        super().__init__()
        self.shards = shard_files(shards)
        self.seed, self.buffer, self.passes, self.broken = seed, buffer, passes, broken
        self.batch_size, self.start, self.asked, self.max_bytes = batch_size, start, asked, max_bytes
        self.rank, self.world = _process(rank, world)
        if buffer < 0 or batch_size < 1 or start < 0 or (passes is not None and passes < 1):
            raise DataError(
                f"expected buffer and start from 0, batch_size and passes from 1, got {buffer}, {start}, {batch_size} "
                f"and {passes}"
            )
        if start and passes is not None:
            raise DataError(f"start: only an endless stream can be taken up again, got passes={passes}")
        # A row for each worker, in memory that all of them see.
        counts: Any = torch.zeros(_MAX_WORKERS, len(REASONS), dtype=torch.int64)
        self._skipped: Tensor = counts.share_memory_()

    @property
    def skipped(self) -> dict[str, int]:
        """How many samples (and, under ``shard``, shards) this process and its workers have left out so far, by reason.

        What is read over by a start is counted again.
        """
        return dict(zip(REASONS, self._skipped.sum(0).tolist(), strict=True))

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        # The loader asks its first worker first; after a start that worker goes on where another one stood.
        turn = (number + self.start) % workers
        done = max(0, -(-(self.start - turn) // workers)) * self.batch_size
        stream, streams = self.rank * workers + turn, self.world * workers
        if self.passes is None and streams > len(self.shards):
            raise DataError(
                f"expected at least one shard for each of {self.world} processes with {workers} workers, got "
                f"{len(self.shards)} shards; take fewer workers, or cut the shards smaller"
            )
        for turnaround in count() if self.passes is None else range(self.passes):
            given = 0
            own = self._order(turnaround)[stream::streams]
            draw = random.Random(f"{self.seed} {turnaround} {stream}")
            for group in _shuffled(self._groups(own, number), self.buffer, draw):
                # Whether a picture is broken is only seen by decoding it, which must be known to count those before.
                sample = self._sample(group, number, decoded=done == 0 or self.broken == "skip")
                if sample is None:
                    continue
                given += 1
                if done:
                    done -= 1
                else:
                    yield sample
            if own and not given:
                raise DataError(f"{own[0]} and {len(own) - 1} more shards: no sample that can be used in a whole pass")

    def _order(self, turnaround: int) -> list[Path]:
        shards = list(self.shards)
        if self.buffer:
            random.Random(f"{self.seed} {turnaround}").shuffle(shards)
        return shards

    def _groups(self, shards: Sequence[Path], worker: int) -> Iterator[Group]:
        for shard in shards:
            try:
                yield from tar_groups(shard, EXTENSIONS, self.max_bytes)
            except DamagedShard as error:
                if self.broken == "raise":
                    raise
                _log.warning("left out from here on: %s", error)
                self._count("shard", worker)

    def _sample(self, group: Group, worker: int, *, decoded: bool) -> Sample | None:
        try:
            return sample_of(group, self.asked, decoded=decoded)
        except BrokenSample as error:
            if self.broken == "raise":
                raise
            self._count(error.reason, worker)
            return None

    def _count(self, reason: str, worker: int) -> None:
        self._skipped[worker % _MAX_WORKERS, REASONS.index(reason)] += 1


def shard_files(shards: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    """The files that some words with braces stand for.

    Raises:
        DataError: none, one that is no file, or the same one twice.
    """
    words = [shards] if isinstance(shards, str | Path) else list(shards)
    files = [Path(name) for word in words for name in expand_braces(str(word))]
    if not files:
        raise DataError("expected at least one shard, got none")
    if missing := [file for file in files if not file.is_file()]:
        first = ", ".join(map(str, missing[:3]))
        raise DataError(
            f"{len(missing)} of {len(files)} shards are no files on this machine: {first}; nothing is fetched from a "
            "network or read from a pipe"
        )
    if len(set(files)) < len(files):
        raise DataError(f"expected different shards, got {len(files) - len(set(files))} of them more than once")
    return tuple(files)


def _process(rank: int | None, world: int | None) -> tuple[int, int]:
    if rank is None and world is None and torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    rank, world = 0 if rank is None else rank, 1 if world is None else world
    if not 0 <= rank < world:
        raise DataError(f"expected a rank from 0 to below world, got rank {rank} of {world}")
    return rank, world


def _shuffled(groups: Iterable[Group], buffer: int, draw: random.Random) -> Iterator[Group]:
    """As many wait as the buffer holds; each new one takes the place of one that is drawn."""
    waiting: list[Group] = []
    for group in groups:
        if len(waiting) < buffer:
            waiting.append(group)
        elif not buffer:
            yield group
        else:
            place = draw.randrange(buffer)
            waiting[place], group = group, waiting[place]
            yield group
    draw.shuffle(waiting)
    yield from waiting
