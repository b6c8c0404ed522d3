"""The Lightning data module of one stage: samples in a reproducible order, encoded and collated for one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.batch import Batch, Encoded
from inlay.recipes.data.features import FeatureCache
from inlay.recipes.data.order import StepBatches
from inlay.recipes.data.sample import DataError, Sample
from inlay.recipes.recipe import Stage

__all__ = ["StageData"]

KEEP_ENCODED = 100_000
"""Up to so many samples keep their token ids in memory (some kilobytes each) instead of being tokenised every epoch."""


class _Conversations(Dataset[Encoded]):
    def __init__(self, samples: Sequence[Sample], model: AttachedModel, stage: Stage) -> None:
        self.samples, self.model, self.layout = samples, model, stage.layout
        self.encoded: dict[int, Encoded] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Encoded:
        if index in self.encoded:
            return self.encoded[index]
        sample = self.samples[index]
        row = self.model.encode(sample.messages, layout=self.layout, name=sample.id)
        if len(self.samples) <= KEEP_ENCODED:
            self.encoded[index] = row
        return row


class _StepLoader(DataLoader[Encoded]):
    """Resumable: its position is a function of the trainer's step, so the state is only what must not have changed."""

    def state_dict(self) -> dict[str, Any]:
        batches = self.batch_sampler
        return {key: getattr(batches, key) for key in ("samples", "batch_size", "batches", "seed")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state != self.state_dict():
            raise DataError(
                f"the checkpoint was made with other data or settings: expected {state}, got {self.state_dict()}; "
                "resume with the settings of the interrupted run, or start anew"
            )


class StageData(LightningDataModule):
    """Training batches of one stage.

    Args:
        samples: what to train on.
        model: the attached model, whose tokenizer and layout decide the ids.
        stage: batch size, layout and geometry.
        seed: of the order.
        features: frozen features, if they are cached.
        workers: processes that load media; 0 loads in the training process.

    Raises:
        DataError: no samples.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        model: AttachedModel,
        stage: Stage,
        *,
        seed: int,
        features: FeatureCache | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__()
        if not samples:
            raise DataError("expected at least one training sample, got an empty file")
        self.samples, self.model, self.stage = samples, model, stage
        self.seed, self.features, self.workers = seed, features, workers
        self.steps = stage.steps(len(samples))

    def train_dataloader(self) -> DataLoader[Encoded]:
        """Batches from the step on at which the trainer stands."""
        done = self.trainer.global_step if self.trainer else 0
        micro = self.stage.batch_size // self.stage.accumulate
        batches = StepBatches(
            len(self.samples), micro, self.steps * self.stage.accumulate, self.seed, done * self.stage.accumulate
        )
        return _StepLoader(
            _Conversations(self.samples, self.model, self.stage),
            batch_sampler=batches,
            collate_fn=self._collate,
            num_workers=self.workers,
            # A generator of its own: else every new iterator would draw from the state that dropout draws from.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _collate(self, rows: list[Encoded]) -> Batch:
        return self.model.collate(rows, layout=self.stage.layout, features=self.features)
