"""Check before the first optimizer step that every trainable tensor has a gradient."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from inlay.hub.errors import InlayError
from inlay.recipes.distributed.ranks import all_of

__all__ = ["GradientAudit", "GradientAuditError"]


class GradientAuditError(InlayError):
    """A trainable tensor has no gradient, or only zeros."""


class GradientAudit(Callback):
    """Runs before the first optimizer step, and for unused parts before the first step that uses them.

    A gradient of zeros is allowed for LoRA's ``A``, because ``B`` starts at zero, and for names that a module lists as
    ``without_gradient``; a missing gradient is not allowed. The training module lists tensors that no micro-batch of
    the step uses as ``idle`` (the audio projector in a step without audio); with several processes a tensor is idle if
    it is idle in all of them.
    """

    def __init__(self) -> None:
        self.done = False
        self.waiting: frozenset[str] | None = None

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Optimizer) -> None:
        """Raise an error with the names of the tensors without a gradient."""
        if self.done:
            return
        tensors = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
        if self.waiting is None:
            # Without communication: in DDP the other processes wait for this gradient, and end with this process.
            self._check_missing(tensors)
        idle = tuple(set.intersection(*(set(names) for names in all_of(tuple(getattr(module, "idle", ()))))))
        asked = set(tensors) if self.waiting is None else self.waiting
        self.waiting = frozenset(name for name in asked if name.startswith(idle)) if idle else frozenset()
        self.done = not self.waiting
        known = {
            f"{path}.{name}" for path, part in module.named_modules() for name in getattr(part, "without_gradient", ())
        }
        zero = [
            name
            for name in sorted(asked - self.waiting)
            if not (name.endswith("/A") or name in known)
            and (gradient := tensors[name].grad) is not None
            and not gradient.any()
        ]
        if zero:
            raise GradientAuditError(
                f"the gradient of {', '.join(zero[:8])} is zero at the first step that uses these tensors, so they "
                "would not learn. Likely causes: an encoder whose features are all zero (check its weights), or a "
                "module of the LLM whose output is not used: leave it out of --lora.targets, or the part out of the "
                "stage's 'lr'. A module of your own that begins so lists these names as `without_gradient`"
            )

    def _check_missing(self, tensors: Mapping[str, Tensor]) -> None:
        dead = [name for name, tensor in tensors.items() if tensor.grad is None]
        if dead:
            raise GradientAuditError(
                f"{len(dead)} trainable tensors have no gradient: {', '.join(dead[:8])}. Freeze their part (leave it "
                "out of the stage's 'lr'), or find the operation that detaches them from the graph"
            )
