"""Save the states of torch's random generators in the checkpoint, so that a resumed run has the same dropout.

On a GPU, dropout uses the generator of that device. Each process has its own state; the checkpoint contains all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from inlay.recipes.distributed.ranks import all_of, rank

__all__ = ["RandomState", "RandomStates", "random_states", "restore"]

RandomStates: TypeAlias = Mapping[str, Any]
"""``cpu``: a byte tensor; with a CUDA GPU ``cuda``: a list of byte tensors, one per device; on a Mac ``mps``: one."""

KEY = "inlay_random_states"


def random_states() -> RandomStates:
    """The states of all generators of this process."""
    states: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore(states: RandomStates) -> None:
    """Restore the states of the devices of this machine."""
    # Copies: torch 2.13 crashes on a tensor that is a view of a larger one.
    torch.set_rng_state(states["cpu"].clone())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.clone() for state in states["cuda"][: torch.cuda.device_count()]])
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"].clone())


def _of_earlier_version(checkpoint: dict[str, Any]) -> list[RandomStates]:
    """The states of an older checkpoint, which has only CPU states: ``[bytes]`` or ``[processes, bytes]``."""
    states = checkpoint.get("inlay_random_state")
    return [] if states is None else [{"cpu": row} for row in states.reshape(-1, states.shape[-1])]


class RandomState(Callback):
    """Saves the states with each checkpoint and restores them when training resumes.

    Args:
        begin: states for the first batch, needed because Lightning seeds again for several processes.
    """

    def __init__(self, begin: RandomStates | None = None) -> None:
        self.restored = begin

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the states of all processes, as byte tensors, which load with ``weights_only=True``."""
        checkpoint[KEY] = all_of(random_states())

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the states until the first batch: setting up loaders may use random numbers too."""
        states = checkpoint.get(KEY) or _of_earlier_version(checkpoint)
        self.restored = states[rank()] if rank() < len(states) else None

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restore the states once."""
        if self.restored is not None:
            restore(self.restored)
            self.restored = None
