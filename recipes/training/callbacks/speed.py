"""Samples per second, in the progress bar and in the logs."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from inlay.adapters.core.batch import Batch
from inlay.recipes.distributed.ranks import world
from inlay.recipes.objectives.qformer_contrastive.caption_batch import CaptionBatch
from inlay.recipes.objectives.signals.states import StateBatch

__all__ = ["Speed"]


class Speed(Callback):
    """Counts conversations of all processes; ``seconds`` and ``samples`` hold the totals of the stage."""

    def __init__(self) -> None:
        self.started = 0.0
        self.samples = 0
        self.paused = 0.0
        """Seconds of validation."""
        self._validates = 0.0

    @property
    def seconds(self) -> float:
        """Since the first batch, without validation."""
        return time.perf_counter() - self.started - self.paused if self.started else 0.0

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the clock with the first batch."""
        self.started = self.started or time.perf_counter()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop the clock."""
        self._validates = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Let it go on."""
        self.paused += time.perf_counter() - self._validates

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count, and log the mean speed so far."""
        if isinstance(batch, Batch | CaptionBatch | StateBatch):
            self.samples += len(batch) * world()
            module.log("samples/s", self.samples / max(self.seconds, 1e-9), prog_bar=True, batch_size=len(batch))
