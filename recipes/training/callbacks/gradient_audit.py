"""Before the first optimizer step, every trainable tensor must have a gradient."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from inlay.hub.errors import InlayError
from inlay.recipes.distributed.ranks import all_of

__all__ = ["GradientAudit", "GradientAuditError"]


class GradientAuditError(InlayError):
    """A tensor that should train gets no gradient, or a frozen one does."""


class GradientAudit(Callback):
    """Runs before the first optimizer step, and for parts that a batch does not reach before the first that does.

    A gradient of exact zeros is allowed for LoRA's ``A``, whose ``B`` starts at zero, and for the names that a module
    itself lists as ``without_gradient``; a missing gradient never is. Tensors that no micro-batch of the step reaches
    (the projector of sounds, if there is no sound in it) are listed by the training module as ``idle``; of several
    processes, tensors that are idle in all of them count.
    """

    def __init__(self) -> None:
        self.done = False
        self.waiting: frozenset[str] | None = None

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Optimizer) -> None:
        """Raise with the names of all tensors that are wrong."""
        if self.done:
            return
        tensors = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
        if self.waiting is None:
            # Without an exchange: the other processes wait for this gradient in DDP, and are ended with this one.
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
                f"the gradient of {', '.join(zero[:8])} is zero everywhere at the first step that could reach it"
            )

    def _check_missing(self, tensors: Mapping[str, Tensor]) -> None:
        dead = [name for name, tensor in tensors.items() if tensor.grad is None]
        if dead:
            raise GradientAuditError(
                f"no gradient reaches {len(dead)} trainable tensors: {', '.join(dead[:8])}. They would stay "
                "untrained; freeze their part in the stage's 'lr', or find the operation that cuts the graph"
            )
