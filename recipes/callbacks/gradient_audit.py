"""At step one, every trainable tensor must have a gradient: days are lost to those that silently have none."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from inlay.hub.errors import InlayError

__all__ = ["GradientAudit", "GradientAuditError"]


class GradientAuditError(InlayError):
    """A tensor that should train gets no gradient, or a frozen one does."""


class GradientAudit(Callback):
    """Runs once, before the first optimizer step.

    A gradient of exact zeros is allowed for LoRA's ``A``, whose partner ``B`` starts at zero, and for what a module
    itself lists as ``without_gradient``; a missing one never is.
    """

    def __init__(self) -> None:
        self.done = False

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Optimizer) -> None:
        """Raise with the names of all tensors that are wrong."""
        if self.done:
            return
        self.done = True
        dead = [name for name, tensor in module.named_parameters() if tensor.requires_grad and tensor.grad is None]
        if dead:
            raise GradientAuditError(
                f"no gradient reaches {len(dead)} trainable tensors: {', '.join(dead[:8])}. They would stay as they "
                "are without a word; freeze their part in the stage's 'lr', or find what cuts the graph"
            )
        known = {
            f"{path}.{name}" for path, part in module.named_modules() for name in getattr(part, "without_gradient", ())
        }
        zero = [
            name
            for name, tensor in module.named_parameters()
            if tensor.requires_grad
            and not (name.endswith("/A") or name in known)
            and tensor.grad is not None
            and not tensor.grad.any()
        ]
        if zero:
            raise GradientAuditError(f"the gradient of {', '.join(zero[:8])} is zero everywhere at the first step")
