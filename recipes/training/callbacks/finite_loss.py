"""Stop on a loss that is not finite, before it reaches the weights."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from inlay.hub.errors import InlayError
from inlay.recipes.distributed.ranks import stop_together

__all__ = ["FiniteLoss", "NonFiniteLossError"]


class NonFiniteLossError(InlayError):
    """The loss became NaN or infinite."""


class FiniteLoss(Callback):
    """Checks the loss before the backward pass."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the names of the samples for the error."""
        self.names = tuple(getattr(batch, "names", ()))

    def on_before_backward(self, trainer: Trainer, module: LightningModule, loss: Tensor) -> None:
        """Raise on NaN and infinity, in all processes together."""
        error = None
        if not torch.isfinite(loss):
            error = NonFiniteLossError(
                f"the loss is {loss.item()} at step {trainer.global_step} (samples {', '.join(self.names[:8])}): lower "
                "the learning rate, or check these samples; the last checkpoint is older than this step"
            )
        stop_together(error)
