"""A stream of pictures with captions from webdataset shards: tars of ``7.jpg`` with ``7.txt`` or ``7.json``.

Shards are distributed to processes and their loading workers; a buffer shuffles the samples. The order is a pure
function of shards, seed, processes and workers, so that a run can be resumed at any batch: earlier samples are read,
but not decoded. Nothing is downloaded.
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
from torch.utils.data import IterableDataset

from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.streaming.braces import expand_braces
from inlay.recipes.data.streaming.tar_groups import DamagedShard, Group, tar_groups
from inlay.recipes.data.streaming.tar_sample import EXTENSIONS, BrokenSample, sample_of
from inlay.recipes.data.streaming.worker_stream import WorkerStream

__all__ = ["REASONS", "TarPairs", "shard_files"]

REASONS = ("member", "picture", "caption", "shard")
"""The reasons for leaving out a sample or a shard."""

_MAX_WORKERS = 1024
_log = logging.getLogger(__name__)


class TarPairs(IterableDataset[Sample]):
    """An endless (or finite) stream of pictures, each with its caption as the assistant's turn.

    A sample has one picture, ``jpg``, ``jpeg``, ``png`` or ``webp``, and a caption: the text of ``txt`` if there is
    one, otherwise the field ``caption`` of ``json``. Other members are not read.

    Args:
        shards: paths, each of which may have braces, such as ``shard-{000..127}.tar``.
        seed: seed of the order.
        buffer: the number of undecoded samples from which the next one is drawn; the shards have a new random order in
            every pass. 0 for the order of the files.
        passes: number of passes over the shards; None for endless.
        broken: ``raise`` stops at the first broken sample or shard, ``skip`` leaves it out and counts it in
            :attr:`skipped`. Of a damaged shard, the samples before the damage are used.
        batch_size: batch size of the loader; needed for a start.
        start: batches that each process has taken already, for an endless stream. The stream continues with the next
            batch, if seed, processes, workers and batch size are the same.
        rank: number of this process; with `world` taken from ``torch.distributed`` if not given, or 0 of 1.
        world: number of processes.
        asked: text of the user's turn beside the picture; empty for none.

    Raises:
        DataError: a shard that is not a file, a start in a finite stream, or numbers out of range.

    In an endless stream every process and worker needs its own shard. In a finite one, exactly one of them yields each
    sample in each pass; some may have fewer samples than others, or none.
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
    ) -> None:
        super().__init__()
        self.shards = shard_files(shards)
        self.seed, self.buffer, self.passes, self.broken = seed, buffer, passes, broken
        self.batch_size, self.start, self.asked = batch_size, start, asked
        self.rank, self.world = _process(rank, world)
        if buffer < 0 or batch_size < 1 or start < 0 or (passes is not None and passes < 1):
            raise DataError(
                f"expected buffer and start from 0, batch_size and passes from 1, got {buffer}, {start}, {batch_size} "
                f"and {passes}"
            )
        if start and passes is not None:
            raise DataError(f"start: only an endless stream can be resumed, got passes={passes}")
        # One row for each worker, in shared memory.
        counts: Any = torch.zeros(_MAX_WORKERS, len(REASONS), dtype=torch.int64)
        self._skipped: Tensor = counts.share_memory_()

    @property
    def skipped(self) -> dict[str, int]:
        """Number of samples (and, under ``shard``, shards) that this process and its workers left out, by reason.

        Samples before a start are counted again.
        """
        return dict(zip(REASONS, self._skipped.sum(0).tolist(), strict=True))

    def __iter__(self) -> Iterator[Sample]:
        number, workers, stream, streams, done = WorkerStream.of_this_worker(
            self.rank, self.world, start=self.start, batch_size=self.batch_size
        )
        if self.passes is None and streams > len(self.shards):
            raise DataError(
                f"expected at least one shard for each of {self.world} processes with {workers} workers, got "
                f"{len(self.shards)} shards; use fewer workers, or smaller shards"
            )
        for turnaround in count() if self.passes is None else range(self.passes):
            given = 0
            own = self._order(turnaround)[stream::streams]
            draw = random.Random(f"{self.seed} {turnaround} {stream}")
            for group in _shuffled(self._groups(own, number), self.buffer, draw):
                # Broken pictures are found only by decoding, and the samples before the start must be counted right.
                sample = self._sample(group, number, decoded=done == 0 or self.broken == "skip")
                if sample is None:
                    continue
                given += 1
                if done:
                    done -= 1
                else:
                    yield sample
            if own and not given:
                raise DataError(f"{own[0]} and {len(own) - 1} more shards: no usable sample in a whole pass")

    def _order(self, turnaround: int) -> list[Path]:
        shards = list(self.shards)
        if self.buffer:
            random.Random(f"{self.seed} {turnaround}").shuffle(shards)
        return shards

    def _groups(self, shards: Sequence[Path], worker: int) -> Iterator[Group]:
        for shard in shards:
            try:
                yield from tar_groups(shard, EXTENSIONS)
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
    """The files of paths with braces.

    Raises:
        DataError: no shard, a shard that is not a file, or the same shard twice.
    """
    words = [shards] if isinstance(shards, str | Path) else list(shards)
    files = [Path(name) for word in words for name in expand_braces(str(word))]
    if not files:
        raise DataError("expected at least one shard, got none")
    if missing := [file for file in files if not file.is_file()]:
        first = ", ".join(map(str, missing[:3]))
        raise DataError(
            f"{len(missing)} of {len(files)} shards are not files on this machine: {first}; nothing is downloaded or "
            "read from a pipe"
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
    """The groups in another order: each new one replaces one that is drawn from a full buffer."""
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
