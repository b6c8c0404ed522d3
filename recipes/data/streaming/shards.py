"""Training batches from a stream of unknown size that can be resumed: webdataset shards, or rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.sampling.step_data import StepData, StepLoader, processes
from inlay.recipes.data.streaming.webdataset import TarPairs
from inlay.recipes.distributed.ranks import world
from inlay.recipes.settings.stage import Stage

__all__ = ["Row", "Shards", "Source", "StreamData"]

Row: TypeAlias = Callable[[int, Sample], Any]
"""Number of the optimizer step, sample -> a row for `collate`."""


class Stream(Protocol):
    """Samples in the order of training, for one process or loading worker."""

    start: int
    """Batches that each process has taken already."""
    batch_size: int

    @property
    def skipped(self) -> dict[str, int]:
        """Number of samples that were left out, by reason."""

    def __iter__(self) -> Iterator[Sample]:
        """The samples."""


class Source(Protocol):
    """The source of a stream: :class:`Shards`, or :class:`~inlay.recipes.data.streaming.rows_source.RowSource`."""

    @property
    def shuffle(self) -> int:
        """Samples in the shuffle buffer."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files on this machine."""

    @property
    def amount(self) -> str:
        """The amount of data, in words."""

    def first(self, count: int) -> list[Sample]:
        """The first samples."""

    def stream(self, *, seed: int, batch_size: int, start: int) -> Stream:
        """The samples in the order of training."""


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Webdataset shards as the source of a stream."""

    files: tuple[Path, ...]
    """The tars."""
    shuffle: int = 1000
    """Samples in the shuffle buffer."""
    broken: Literal["raise", "skip"] = "raise"
    """Whether an invalid sample is an error or is left out."""

    def first(self, count: int) -> list[Sample]:
        """The first samples of the first shards, in the order of the files.

        Raises:
            DataError: one of them is invalid, or there is none.
        """
        found = list(islice(TarPairs(self.files, buffer=0, passes=1, broken=self.broken), count))
        if not found:
            raise DataError(f"{self.files[0]} and {len(self.files) - 1} more shards: no usable sample")
        return found

    @property
    def amount(self) -> str:
        """The amount of data, in words."""
        return f"{len(self.files)} shard(s) as a stream"

    def stream(self, *, seed: int, batch_size: int, start: int) -> TarPairs:
        """The samples in the order of training."""
        return TarPairs(
            self.files, seed=seed, buffer=self.shuffle, broken=self.broken, batch_size=batch_size, start=start
        )


class StreamData(StepData):
    """Batches of a stage from a stream. The stage sets the number of steps; a stream has no epochs.

    Each process reads files of its own, so the composition of a batch depends on the number of processes.

    Args:
        source: gives the samples.
        row: converts a sample to a row.
        collate: rows -> a batch.
        stage: batch size and steps.
        seed: seed of the order.
        workers: processes that read.

    Raises:
        DataError: the stage has no ``max_steps``.
    """

    def __init__(
        self,
        source: Source,
        row: Row,
        collate: Callable[[list[Any]], Any],
        stage: Stage,
        *,
        seed: int,
        workers: int = 0,
    ) -> None:
        if stage.max_steps is None:
            raise DataError("max_steps: expected the number of steps of the stage; a stream has no end")
        super().__init__([1], lambda *_: None, collate, stage, seed=seed, workers=workers)
        self.source, self.row, self.steps = source, row, stage.max_steps
        self.samples = self._stream(0)

    @property
    def amount(self) -> str:
        """The amount of data, in words."""
        return self.source.amount

    @property
    def skipped(self) -> dict[str, int]:
        """Number of samples, rows and shards that were left out so far, by reason."""
        return {reason: count for reason, count in self.samples.skipped.items() if count}

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from the trainer's current step on."""
        done = self.trainer.global_step if self.trainer else 0
        self.samples = self._stream(done * self.stage.accumulate)
        return StepLoader(
            _Rows(self.samples, self.row, self.stage.accumulate),
            accumulate=self.stage.accumulate,
            state={
                "shards": len(self.source.files),
                "shuffle": self.source.shuffle,
                "batch_size": self.samples.batch_size,
                "batches": self.steps * self.stage.accumulate,
                "seed": self.seed,
                **processes(),
            },
            batch_size=self.samples.batch_size,
            collate_fn=self.collate,
            num_workers=self.workers,
            # Without its own generator, every new iterator would advance the one that dropout uses.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _stream(self, start: int) -> Stream:
        size = self.stage.batch_size // self.stage.accumulate // world()
        return self.source.stream(seed=self.seed, batch_size=size, start=start)


class _Rows(IterableDataset[Any]):
    """Rows with the number that their optimizer step has in the whole stage, whichever worker reads them."""

    def __init__(self, samples: Stream, row: Row, accumulate: int) -> None:
        self.samples, self.row, self.accumulate = samples, row, accumulate

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        # The loader asks its workers in turn, the first one first.
        for place, sample in enumerate(self.samples):
            batch = self.samples.start + place // self.samples.batch_size * workers + number
            yield self.row(batch // self.accumulate, sample)
