"""The state of torch's random numbers is saved in the checkpoint, so that a resumed run has the same dropout.

Each of several processes draws its own numbers, and the checkpoint holds the states of all.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from inlay.recipes.distributed.ranks import all_of, rank

__all__ = ["RandomState"]


class RandomState(Callback):
    """Saves torch's CPU generator with each checkpoint and puts it back when training goes on.

    Args:
        begin: a state for the first batch, if the set-up seeds again, as Lightning does for several processes.
    """

    def __init__(self, begin: Tensor | None = None) -> None:
        self.restored = begin

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Byte tensors, which load with ``weights_only=True``; every process calls this, the first one writes."""
        states = all_of(torch.get_rng_state())
        checkpoint["inlay_random_state"] = states[0] if len(states) == 1 else torch.stack(states)

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep it until training really starts: setting up loaders and sanity checks may draw numbers too."""
        states = checkpoint.get("inlay_random_state")
        # A copy: torch 2.13 crashes on a row that is a view of all states.
        self.restored = states[rank()].clone() if states is not None and states.dim() > 1 else states

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put the state back once."""
        if self.restored is not None:
            torch.set_rng_state(self.restored)
            self.restored = None
