"""Logged training figures: samples per second, tokens, learning rates, gradient norm, epochs."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from inlay.recipes.distributed.ranks import world

__all__ = ["Meters"]


class Meters(Callback):
    """Logs speed, ``lr/PART``, ``gradient norm`` (before clipping), ``tokens`` and ``epoch``.

    ``samples`` and ``seconds`` hold the totals of the stage. Samples and tokens are those of this process times the
    number of processes, which needs no communication.

    Args:
        samples_per_epoch: samples of all data sets; 0 for a stream, which has no epochs.
        batch_size: conversations per optimizer step.
    """

    def __init__(self, samples_per_epoch: int = 0, batch_size: int = 1) -> None:
        self.samples_per_epoch, self.batch_size = samples_per_epoch, batch_size
        self.started = 0.0
        self.paused = 0.0
        """Seconds of validation."""
        self._validates = 0.0
        self.samples = 0
        self.tokens = torch.zeros((), dtype=torch.long)

    @property
    def seconds(self) -> float:
        """Seconds since the first batch, without validation."""
        return time.perf_counter() - self.started - self.paused if self.started else 0.0

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the timer at the first batch."""
        self.started = self.started or time.perf_counter()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Pause the timer."""
        self._validates = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Resume the timer."""
        self.paused += time.perf_counter() - self._validates

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Optimizer) -> None:
        """Log the norm of the gradient before clipping."""
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        module.log("gradient norm", torch.nn.utils.get_total_norm(gradients), batch_size=1)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count samples and tokens, and log the figures."""
        size = len(batch) if hasattr(batch, "__len__") else 1
        self.samples += size * world()
        mask = getattr(batch, "mask", None)
        if isinstance(mask, torch.Tensor):  # Summed on the device, to avoid a synchronisation in every step.
            self.tokens = self.tokens.to(mask.device) + mask.sum() * world()
            module.log("tokens", self.tokens.float(), batch_size=size)
        module.log("samples/s", self.samples / max(self.seconds, 1e-9), prog_bar=True, batch_size=size)
        if self.samples_per_epoch:
            module.log("epoch", trainer.global_step * self.batch_size / self.samples_per_epoch, batch_size=size)
        for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
            name = str(group.get("name", "all"))
            if not name.endswith("(no decay)"):
                module.log(f"lr/{name}", float(group["lr"]), batch_size=size)
