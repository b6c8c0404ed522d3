"""A resumable loader of training batches: which sample comes when is a function of seed and step, for any objective."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from inlay.recipes.data.lengths import ByLength
from inlay.recipes.data.mixture import MixtureBatches
from inlay.recipes.data.order import StepBatches
from inlay.recipes.data.sample import DataError
from inlay.recipes.ranks import rank, world
from inlay.recipes.recipe import Stage

__all__ = ["StepData", "StepLoader", "processes"]


def processes() -> dict[str, int]:
    """What a checkpoint remembers of the processes: each has a random state of its own, so their number must stay."""
    return {} if world() == 1 else {"processes": world()}


class _Numbered(Sampler[list[tuple[int, int]]]):
    """Index batches with the number of the batch beside each index; of several processes, this one's rows of each.

    Every other row rather than a stretch: where rows are sorted by length, each process gets short and long ones.
    """

    def __init__(self, batches: StepBatches | MixtureBatches | ByLength) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for number, batch in enumerate(self.batches, self.batches.start):
            yield [(number, index) for index in batch[rank() :: world()]]


class _Rows(Dataset[Any]):
    def __init__(self, read: Callable[[int, int], Any], count: int) -> None:
        self.read, self.count = read, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: tuple[int, int]) -> Any:
        return self.read(*place)


class StepLoader(DataLoader[Any]):
    """Resumable: its position is a function of the trainer's step, so the state is only what must not have changed.

    Args:
        data: rows.
        state: what must not have changed when a run is resumed.
        options: of torch's loader.
    """

    def __init__(self, data: Dataset[Any], *, state: dict[str, Any], **options: Any) -> None:
        super().__init__(data, **options)
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compare with what a checkpoint kept.

        Raises:
            DataError: something has changed.
        """
        if state != self.state_dict():
            raise DataError(
                f"the checkpoint was made with other data or settings: expected {state}, got {self.state_dict()}; "
                "resume with the settings of the interrupted run, or start anew"
            )


class StepData(LightningDataModule):
    """Training batches of one stage.

    Args:
        sizes: samples of each data set; of several, each is drawn by the square root of its size.
        read: number of the batch, index of the sample over all data sets -> what is collated.
        collate: what was read -> a batch.
        stage: batch size and steps.
        seed: of the order.
        workers: processes that load media; 0 loads in the training process.
        lengths: of each sample; with them, batches hold samples of like length.

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
        lengths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if not all(sizes) or not sizes:
            raise DataError("expected at least one training sample, got an empty file")
        self.sizes, self.read, self.collate, self.stage = tuple(sizes), read, collate, stage
        self.seed, self.workers, self.lengths = seed, workers, lengths
        self.steps = stage.steps(sum(sizes))

    @property
    def amount(self) -> str:
        """How much there is, in words."""
        return f"{sum(self.sizes)} samples"

    @property
    def skipped(self) -> dict[str, int]:
        """Samples that were left out so far, by reason; a file that cannot be used whole is an error instead."""
        return {}

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from the step on at which the trainer stands."""
        done = self.trainer.global_step if self.trainer else 0
        micro = self.stage.batch_size // self.stage.accumulate
        batches, start = self.steps * self.stage.accumulate, done * self.stage.accumulate

        def order_from(first: int) -> StepBatches | MixtureBatches:
            if len(self.sizes) == 1:
                return StepBatches(self.sizes[0], micro, batches, self.seed, first)
            return MixtureBatches(self.sizes, micro, batches, self.seed, first)

        order = ByLength(order_from, self.lengths, batches, self.seed, start) if self.lengths else order_from(start)
        return StepLoader(
            _Rows(self.read, sum(self.sizes)),
            state={
                "samples": self.sizes[0] if len(self.sizes) == 1 else list(self.sizes),
                "batch_size": micro,
                "batches": batches,
                "seed": self.seed,
                "grouping": "length" if self.lengths else "none",
                **processes(),
            },
            batch_sampler=_Numbered(order),
            collate_fn=self.collate,
            num_workers=self.workers,
            # A generator of its own: else every new iterator would draw from the state that dropout draws from.
            generator=torch.Generator().manual_seed(self.seed),
        )
