"""A resumable loader of training batches for any objective; the order is a function of seed and step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.sampling.lengths import ByLength
from inlay.recipes.data.sampling.mixture import MixtureBatches
from inlay.recipes.data.sampling.order import StepBatches
from inlay.recipes.data.sampling.step_counts import StepBatch, by_step
from inlay.recipes.data.sampling.worker_errors import carried_collate, carried_rows, raised
from inlay.recipes.distributed.ranks import rank, world
from inlay.recipes.settings.stage import Stage

__all__ = ["StepData", "StepLoader", "micro_batches", "processes"]


def processes() -> dict[str, int]:
    """The number of processes for a checkpoint: each has its own random state, so their number must not change."""
    return {} if world() == 1 else {"processes": world()}


def micro_batches(step: Sequence[int], accumulate: int, processes: int) -> list[list[list[int]]]:
    """Cut the samples of one optimizer step: micro-batch -> process -> its samples.

    A process takes every other sample of a micro-batch rather than a stretch: where samples are sorted by length, each
    process gets short and long ones. A step that is shorter than the others has fewer micro-batches, so that no process
    has one without samples.

    Args:
        step: indices of the samples.
        accumulate: micro-batches of a full step.
        processes: number of processes that train together.

    Raises:
        DataError: fewer samples than processes.

    Example:
        >>> micro_batches([0, 1, 2, 3, 4, 5, 6, 7], accumulate=2, processes=2)
        [[[0, 2], [1, 3]], [[4, 6], [5, 7]]]
        >>> micro_batches([0, 1, 2], accumulate=2, processes=2)
        [[[0, 2], [1]]]
    """
    count = min(accumulate, len(step) // processes)
    if not count:
        raise DataError(
            f"a step of {len(step)} samples cannot be shared among {processes} processes; use fewer devices"
        )
    ends = [place * len(step) // count for place in range(count + 1)]
    return [
        [list(step[start + process : end : processes]) for process in range(processes)] for start, end in pairwise(ends)
    ]


class _MicroBatches(Sampler[list[tuple[int, int]]]):
    """Micro-batches of this process, with the number of the optimizer step beside each index.

    Args:
        order: first step -> the samples of each step from that one on.
        steps: of the whole stage.
        accumulate: micro-batches of a step.
        start: steps already done.
    """

    def __init__(self, order: Callable[[int], Iterable[list[int]]], steps: int, accumulate: int, start: int) -> None:
        self.order, self.accumulate, self.start = order, accumulate, start
        # Lightning needs the exact number of micro-batches, and the last step may be shorter.
        last = next(iter(order(steps - 1)))
        self.count = (steps - 1) * accumulate + len(micro_batches(last, accumulate, world()))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for number, step in enumerate(self.order(self.start), self.start):
            for shared in micro_batches(step, self.accumulate, world()):
                yield [(number, index) for index in shared[rank()]]


class _Rows(Dataset[Any]):
    def __init__(self, read: Callable[[int, int], Any], count: int) -> None:
        self.read, self.count = read, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: tuple[int, int]) -> Any:
        return self.read(*place)


class StepLoader(DataLoader[Any]):
    """A resumable loader: the trainer's step gives its position, and its state has the settings that must not change.

    It takes all micro-batches of an optimizer step from its workers before it yields the first one, see
    :func:`~inlay.recipes.data.sampling.step_counts.by_step`; the micro-batches of one step are in memory.

    Args:
        data: the rows.
        state: settings that must be the same when a run is resumed.
        accumulate: micro-batches of an optimizer step.
        options: options of torch's loader.
    """

    def __init__(self, data: Dataset[Any], *, state: dict[str, Any], accumulate: int = 1, **options: Any) -> None:
        if options.get("num_workers"):
            data, options["collate_fn"] = carried_rows(data), carried_collate(options["collate_fn"])
        super().__init__(data, **options)
        self.state, self.accumulate = state, accumulate

    def __iter__(self) -> Iterator[StepBatch]:  # type: ignore[override]  # torch names its own iterator
        """Micro-batches, each with its share of the optimizer step."""
        return by_step(raised(super().__iter__()), self.accumulate)

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compare with the state in a checkpoint.

        Raises:
            DataError: a setting has changed.
        """
        if state != self.state_dict():
            raise DataError(
                f"the checkpoint was written with other data or settings: expected {state}, got {self.state_dict()}; "
                "resume with the settings of the interrupted run, or start a new run"
            )


class StepData(LightningDataModule):
    """Training batches of one stage.

    Args:
        sizes: number of samples of each data set; several are mixed by the square roots of their sizes.
        read: number of the optimizer step, index of the sample over all data sets -> a row.
        collate: rows -> a batch.
        stage: batch size and steps.
        seed: seed of the order.
        workers: processes that load media; 0 loads in the training process.
        lengths: length of each sample; if given, batches have samples of similar length.

    Raises:
        DataError: no samples.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        read: Callable[[int, int], Any],
        collate: Callable[[list[Any]], Any],
        stage: Stage,
        *,
        seed: int,
        workers: int = 0,
        lengths: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__()
        if not all(sizes) or not sizes:
            raise DataError("expected at least one training sample, got an empty file")
        self.sizes, self.read, self.collate, self.stage = tuple(sizes), read, collate, stage
        self.seed, self.workers, self.lengths = seed, workers, lengths
        self.steps = stage.steps(sum(sizes))
        self.validation: StepData | None = None
        """Held-out samples, for validation during training."""

    @property
    def amount(self) -> str:
        """The amount of data, in words."""
        return f"{sum(self.sizes)} samples"

    @property
    def skipped(self) -> dict[str, int]:
        """Number of samples that were left out so far, by reason; always empty for files."""
        return {}

    def order(self, start: int) -> Iterable[list[int]]:
        """The samples of each optimizer step, from one step on; only the last step may be shorter than the others.

        They do not depend on the number of micro-batches and processes, which share the samples of a step.

        Args:
            start: steps already done.
        """
        if self.lengths is not None:
            return ByLength(self._random_order, self.lengths, self.steps, self.seed, start)
        return self._random_order(start)

    def _random_order(self, start: int) -> StepBatches | MixtureBatches:
        if len(self.sizes) == 1:
            return StepBatches(self.sizes[0], self.stage.batch_size, self.steps, self.seed, start)
        return MixtureBatches(self.sizes, self.stage.batch_size, self.steps, self.seed, start)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Pass the share to the training module, and the micro-batch to the training loop."""
        module: Any = self.trainer.lightning_module if self.trainer else None
        if not isinstance(batch, StepBatch):
            return batch
        if hasattr(module, "share"):
            module.share = batch.share
        return batch.batch

    def setup(self, stage: str) -> None:
        """Switch Lightning's validation off if there are no held-out samples; an empty loader would give a warning."""
        own = type(self).val_dataloader is StepData.val_dataloader and "val_dataloader" not in vars(self)
        if self.validation is None and own and self.trainer is not None:
            self.trainer.limit_val_batches = 0

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Batches of the held-out samples in order; several processes share every batch."""
        return self.validation.in_order() if self.validation is not None else []

    def in_order(self) -> DataLoader[Any]:
        """Every sample once, in batches as large as the stage's micro-batches, read as for the first optimizer step.

        All processes have the same number of batches, and none is empty. If the number of samples is a multiple of the
        number of processes, all have the same number of samples in every batch.

        Raises:
            DataError: fewer samples than processes.
        """
        count, size = sum(self.sizes), max(1, self.stage.batch_size // self.stage.accumulate // world()) * world()
        starts = list(range(0, count, size))
        if len(starts) > 1 and count - starts[-1] < world():
            starts.pop()  # The rest joins the last batch.
        batches = [
            shared
            for start, end in pairwise([*starts, count])
            for shared in micro_batches(range(start, end), 1, world())
        ]
        return DataLoader(
            _Rows(self.read, count),
            batch_sampler=[[(0, index) for index in shared[rank()]] for shared in batches],
            collate_fn=self.collate,
            num_workers=self.workers,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Micro-batches from the trainer's current step on."""
        accumulate = self.stage.accumulate
        return StepLoader(
            _Rows(self.read, sum(self.sizes)),
            state={
                "samples": self.sizes[0] if len(self.sizes) == 1 else list(self.sizes),
                "batch_size": self.stage.batch_size // accumulate,
                "batches": self.steps * accumulate,
                "seed": self.seed,
                "grouping": "length" if self.lengths is not None else "none",
                **processes(),
            },
            accumulate=accumulate,
            batch_sampler=_MicroBatches(
                self.order, self.steps, accumulate, self.trainer.global_step if self.trainer else 0
            ),
            collate_fn=self.collate,
            num_workers=self.workers,
            # Without its own generator, every new iterator would advance the one that dropout uses.
            generator=torch.Generator().manual_seed(self.seed),
        )
