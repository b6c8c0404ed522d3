"""Dropout draws from torch's generator; its state goes into the checkpoint, so that a resumed run draws the same."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

__all__ = ["RandomState"]


class RandomState(Callback):
    """Saves torch's CPU generator with each checkpoint and puts it back when training goes on."""

    def __init__(self) -> None:
        self.restored: Tensor | None = None

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """A byte tensor, which loads with ``weights_only=True``."""
        checkpoint["inlay_random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep it until training really starts: setting up loaders and sanity checks may draw numbers too."""
        self.restored = checkpoint.get("inlay_random_state")

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put the state back once."""
        if self.restored is not None:
            torch.set_rng_state(self.restored)
            self.restored = None
