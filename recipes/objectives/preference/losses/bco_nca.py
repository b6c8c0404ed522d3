"""Losses on each answer alone, like a classifier: BCO and NCA.

``a`` and ``b`` are the log-ratios of the chosen and the rejected answer. DPO depends only on ``a - b`` and may lower
the probability of both; these losses also keep the level of the chosen answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from inlay.recipes.objectives.preference.losses.registry import LN2, BetaLoss, log_loss
from inlay.recipes.objectives.preference.losses.streams import REFERENCE, PairLogProbs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BcoPair", "NcaPair"]


@dataclass(frozen=True, kw_only=True)
class BcoPair(BetaLoss[PairLogProbs]):
    """BCO: ``-log sigmoid(βa - δ) - log sigmoid(-(βb - δ))`` (Jung et al., 2024, https://arxiv.org/abs/2404.04656).

    δ is the running mean of all rewards in the paper, in ms-swift and in LLaMA-Factory, and 0 in TRL 1.16. It is 0
    here, because a running mean makes the loss depend on the order of the batches; a trainer may replace ``shift`` at
    each step.
    """

    name: ClassVar[str] = "bco_pair"
    needs: ClassVar[tuple[str, ...]] = REFERENCE
    shift: float = 0.0
    """δ, in units of the reward ``βa``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("shift", math.isfinite(self.shift), "a finite number")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        chosen, rejected = self.beta * pairs.ratio("chosen"), self.beta * pairs.ratio("rejected")
        return log_loss(chosen - self.shift) + log_loss(self.shift - rejected)

    def first_step(self) -> float:
        """``-log sigmoid(-δ) - log sigmoid(δ)``, which is ``2 ln 2`` for δ = 0."""
        return abs(self.shift) + 2 * math.log1p(math.exp(-abs(self.shift)))


@dataclass(frozen=True, kw_only=True)
class NcaPair(BetaLoss[PairLogProbs]):
    """NCA: ``-log sigmoid(βa) - ½ log sigmoid(-βa) - ½ log sigmoid(-βb)`` (Chen et al., 2024, https://arxiv.org/abs/2402.05369)."""

    name: ClassVar[str] = "nca_pair"
    needs: ClassVar[tuple[str, ...]] = REFERENCE

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        chosen, rejected = self.beta * pairs.ratio("chosen"), self.beta * pairs.ratio("rejected")
        return log_loss(chosen) + (log_loss(-chosen) + log_loss(-rejected)) / 2

    def first_step(self) -> float:
        """``2 ln 2``."""
        return 2 * LN2
