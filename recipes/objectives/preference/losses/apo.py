"""APO: anchored preference optimisation (D'Oosterlinck et al., 2024, https://arxiv.org/abs/2408.06266, eq. 7 and 8).

``a`` and ``b`` are the log-ratios of the chosen and the rejected answer. Unlike in DPO, each loss determines the
direction in which the probability of the chosen answer moves. The form for single answers with labels is in
:mod:`~inlay.recipes.objectives.preference.losses.kto`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from inlay.recipes.objectives.preference.losses.registry import BetaLoss
from inlay.recipes.objectives.preference.losses.streams import REFERENCE, PairLogProbs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ApoDown", "ApoZero"]


@dataclass(frozen=True, kw_only=True)
class ApoZero(BetaLoss[PairLogProbs]):
    """``1 - sigmoid(βa) + sigmoid(βb)``: raises the chosen answer; for data better than the policy's answers."""

    name: ClassVar[str] = "apo_zero"
    needs: ClassVar[tuple[str, ...]] = REFERENCE

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``; ``1 - sigmoid(x)`` is computed as ``sigmoid(-x)``."""
        return (-self.beta * pairs.ratio("chosen")).sigmoid() + (self.beta * pairs.ratio("rejected")).sigmoid()

    def first_step(self) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class ApoDown(BetaLoss[PairLogProbs]):
    """``sigmoid(βa) + 1 - sigmoid(β(a - b))``: lowers both answers, the rejected one more.

    For data that are worse than the policy's own answers.
    """

    name: ClassVar[str] = "apo_down"
    needs: ClassVar[tuple[str, ...]] = REFERENCE

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        chosen, rejected = pairs.ratio("chosen"), pairs.ratio("rejected")
        return (self.beta * chosen).sigmoid() + (self.beta * (rejected - chosen)).sigmoid()

    def first_step(self) -> float:
        """1."""
        return 1.0
