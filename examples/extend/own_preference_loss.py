r"""A preference loss: a squared hinge, which is zero for every pair with a large enough margin.

    inlay train align --begin runs/llava --import own_preference_loss.py --data.train pairs.jsonl \
        --stages.prefer.objective.loss squared_hinge --stages.prefer.objective.options '{"margin": 0.5}'

The fields are the settings of ``--stages.prefer.objective.options``. ``needs`` names further log-probabilities than
those of the two answers; ``per_row`` returns one number for each pair, in the dtype of its inputs, without reduction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from inlay.recipes import BetaLoss, PairLogProbs, register_preference_loss


@dataclass(frozen=True, kw_only=True)
class SquaredHinge(BetaLoss[PairLogProbs]):
    """``max(0, margin - βΔ)²``, where Δ is what the chosen answer has gained over the rejected one."""

    name: ClassVar[str] = "squared_hinge"
    needs: ClassVar[tuple[str, ...]] = ("ref_chosen", "ref_rejected")
    margin: float = 1.0

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        gained = pairs.ratio("chosen") - pairs.ratio("rejected")
        return (self.margin - self.beta * gained).clamp(min=0).square()

    def first_step(self) -> float:
        """The loss of an untouched adapter; a run that begins with another value stops."""
        return max(0.0, self.margin) ** 2


register_preference_loss(SquaredHinge)
