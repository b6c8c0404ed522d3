"""Settings of a stage's optimizer: AdamW, its warm-up and its schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from inlay.recipes.settings.errors import RecipeError

__all__ = ["OptimizerSettings", "Schedule"]

Schedule: TypeAlias = Literal["cosine", "linear", "constant"]
"""The learning rate after the warm-up."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """AdamW and the learning-rate schedule of a stage."""

    weight_decay: float = 0.0
    """Decoupled weight decay of matrices and embedding tables; not applied to biases, norms and a learned
    temperature."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's betas."""
    clip: float = 1.0
    """Gradient clipping: the largest norm of the gradient; 0 turns it off."""
    warmup: float = 0.03
    """Warm-up, as a share of the steps."""
    warmup_steps: int | None = None
    """Warm-up in optimizer steps; takes precedence over ``warmup``."""
    start: float = 0.0
    """Learning rate at the first step, as a share of the peak."""
    schedule: Schedule = "cosine"
    """The learning rate after the warm-up: a half cosine or a linear decay to ``floor``, or constant."""
    floor: float = 0.0
    """Learning rate at the last step, as a share of the peak."""

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= 1 or self.clip < 0 or self.weight_decay < 0:
            raise RecipeError("expected warmup from 0 to 1, clip and weight_decay of at least 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(f"betas: expected two numbers from 0 to below 1, got {self.betas}")
        if not 0 <= self.start <= 1 or not 0 <= self.floor <= 1 or (self.warmup_steps or 0) < 0:
            raise RecipeError("expected start and floor from 0 to 1, warmup_steps of at least 0")
        if self.schedule not in get_args(Schedule):
            raise RecipeError(f"schedule: expected one of {', '.join(get_args(Schedule))}, got {self.schedule!r}")
        if self.schedule == "constant" and self.floor:
            raise RecipeError(f"floor: has no effect with schedule constant, got {self.floor}; remove one of them")

    def rise(self, steps: int) -> int:
        """Warm-up steps of a stage with ``steps`` optimizer steps; at least 1."""
        wanted = round(steps * self.warmup) if self.warmup_steps is None else min(self.warmup_steps, steps)
        return max(1, wanted)
