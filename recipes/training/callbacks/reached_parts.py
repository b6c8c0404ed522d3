"""Report the trainable parts that no batch of a stage used, and that are therefore unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from inlay.recipes.distributed.ranks import all_of

__all__ = ["ReachedParts"]


class ReachedParts(Callback):
    """Collects the parts that the training module lists as ``idle`` in every batch, such as the audio projector.

    Args:
        show: prints a line for the user.
    """

    def __init__(self, show: Callable[[str], None] = print) -> None:
        self.show = show
        self.idle: frozenset[str] | None = None

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remove the parts that this batch used."""
        idle = frozenset(getattr(module, "idle", ()))
        self.idle = idle if self.idle is None else self.idle & idle

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Print the parts that no batch of any process used."""
        given: list[tuple[str, ...] | None] = all_of(None if self.idle is None else tuple(self.idle))
        seen = [set(names) for names in given if names is not None]
        never = set.intersection(*seen) if seen else set()
        for prefix in sorted(never):
            tensors = [
                tensor for name, tensor in module.named_parameters() if name.startswith(prefix) and tensor.requires_grad
            ]
            if count := sum(tensor.numel() for tensor in tensors):
                part = prefix.removeprefix("adapter.").removesuffix(".")
                self.show(
                    f"no batch of this stage used {part}: its {count:,} parameters are unchanged; the data contain no "
                    "sample for it"
                )

    def state_dict(self) -> dict[str, Any]:
        """The state in a checkpoint."""
        return {"idle": None if self.idle is None else sorted(self.idle)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        held = state_dict.get("idle")
        self.idle = None if held is None else frozenset(held)
