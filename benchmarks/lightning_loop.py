"""Our side of a training measure: a stage's Lightning module in Lightning's loop, with its checks enabled."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from benchmarks.timing import Clock, Spent
from inlay.recipes.settings.precision import Precision, autocast_of
from inlay.recipes.training.callbacks import FiniteLoss, GradientAudit

__all__ = ["fit_ours"]


class _Watch(Callback):
    """Measures the time from the first batch to the last step, and keeps the losses."""

    def __init__(self, device: torch.device) -> None:
        self.clock, self.spent, self.losses = Clock(device), Spent(0, 0), list[torch.Tensor]()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock, after the model has moved to its device."""
        self.clock.start()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss as a tensor, because reading its value would synchronise a GPU."""
        self.losses.append(outputs["loss"].detach())

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop the clock."""
        self.spent = self.clock.read()


def fit_ours(
    module: LightningModule, batches: Sequence[Any], *, precision: Precision, device: torch.device, clip: float = 1.0
) -> tuple[Spent, list[float]]:
    """Train on batches, one pass.

    Args:
        module: the training module of a stage.
        batches: collated batches in order.
        precision: as in ``inlay train --precision``.
        device: the device.
        clip: largest norm of the gradient.

    Returns:
        The time from the first batch to the last step, and the loss of every step.
    """
    watch = _Watch(device)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            max_steps=len(batches),
            max_epochs=-1,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            precision=autocast_of(precision),
            gradient_clip_val=clip,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[GradientAudit(), FiniteLoss(), watch],
        )
        loader: DataLoader[Any] = DataLoader(list(batches), batch_size=None, collate_fn=_as_is)  # type: ignore[arg-type]
        trainer.fit(module, loader)
    return watch.spent, [float(loss) for loss in watch.losses]


def _as_is(batch: Any) -> Any:
    return batch
