"""Losses that are squares: IPO and SPPO.

They move the difference of log-ratios towards a finite target instead of increasing it without bound, so that
consistent labels do not drive the policy arbitrarily far from the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from inlay.recipes.objectives.preference.losses.dpo import Contrast
from inlay.recipes.objectives.preference.losses.registry import BetaLoss
from inlay.recipes.objectives.preference.losses.streams import REFERENCE, PairLogProbs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Ipo", "SppoHard"]


@dataclass(frozen=True, kw_only=True)
class Ipo(Contrast):
    """IPO: ``(a/|w| - b/|l| - 1/(2β))²`` (Azar et al., 2023, https://arxiv.org/abs/2310.12036, eq. 17, β is its τ).

    Averages per token, as TRL (confirmed by the authors) and LLaMA-Factory; mlx-vlm uses sums.
    """

    name: ClassVar[str] = "ipo"

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        return (self.average_difference(pairs) - 1 / (2 * self.beta)).square()

    def first_step(self) -> float:
        """``1 / (4 β²)``."""
        return 1 / (4 * self.beta**2)


@dataclass(frozen=True, kw_only=True)
class SppoHard(BetaLoss[PairLogProbs]):
    """SPPO: ``(a - 1/(2β))² + (b + 1/(2β))²`` (Wu et al., 2024, https://arxiv.org/abs/2405.00675, eq. 4.7).

    The paper estimates the probability that an answer wins; here it is 1 for the chosen and 0 for the rejected one.
    """

    name: ClassVar[str] = "sppo_hard"
    needs: ClassVar[tuple[str, ...]] = REFERENCE

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        half = 1 / (2 * self.beta)
        return (pairs.ratio("chosen") - half).square() + (pairs.ratio("rejected") + half).square()

    def first_step(self) -> float:
        """``1 / (2 β²)``."""
        return 1 / (2 * self.beta**2)
