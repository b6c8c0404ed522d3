"""DPOP, also called DPO-positive or Smaug (Pal et al., 2024, https://arxiv.org/abs/2402.13228)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from inlay.recipes.objectives.preference.losses.registry import LN2, BetaLoss, log_loss
from inlay.recipes.objectives.preference.losses.streams import REFERENCE, PairLogProbs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Dpop"]


@dataclass(frozen=True, kw_only=True)
class Dpop(BetaLoss[PairLogProbs]):
    """``-log sigmoid(βΔ) + δ max(0, log π_ref(w) - log π(w))``.

    It is DPO with a penalty if the chosen answer gets less likely. The penalty is added outside, as in mlx-vlm, so that
    its gradient does not depend on β. ``inside=True`` is the paper's form,
    ``-log sigmoid(β (Δ - δ max(0, ...)))``, whose gradient vanishes once the pair is well separated.
    """

    name: ClassVar[str] = "dpop"
    needs: ClassVar[tuple[str, ...]] = REFERENCE
    penalty: float = 50.0
    """δ, at least 0."""
    inside: bool = False
    """Whether the penalty is part of the sigmoid's argument."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("penalty", self.penalty >= 0, "a number of at least 0")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        chosen = pairs.ratio("chosen")
        difference, penalty = chosen - pairs.ratio("rejected"), self.penalty * (-chosen).relu()
        if self.inside:
            return log_loss(self.beta * (difference - penalty))
        return log_loss(self.beta * difference) + penalty

    def first_step(self) -> float:
        """``ln 2``."""
        return LN2
