"""Losses without a reference model: SimPO, CPO and ORPO.

They save the reference's forward pass, but the distance from the initial model is not measured. So the loss of the
first step depends on the data and cannot be checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from inlay.recipes.objectives.preference.losses.registry import LN2, BetaLoss, log_loss
from inlay.recipes.objectives.preference.losses.streams import PairLogProbs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Cpo", "Orpo", "Simpo", "log1mexp"]

_LARGEST = -1e-7
"""Upper limit on the mean log-probability: at 0, a certain answer, the odds are infinite."""


@dataclass(frozen=True, kw_only=True)
class Simpo(BetaLoss[PairLogProbs]):
    """SimPO: ``-log sigmoid(β (log π(w)/|w| - log π(l)/|l|) - gamma)`` (Meng et al., 2024, https://arxiv.org/abs/2405.14734).

    ``gamma`` is subtracted after the multiplication with β, as in TRL and LLaMA-Factory; the paper lists gamma/β (0.3
    to 1.6, with β 2 to 2.5). The defaults are those of ms-swift; TRL's are β 0.1 and gamma 0.5, and TRL adds CPO's
    supervised term unless ``cpo_alpha`` is 0.
    """

    name: ClassVar[str] = "simpo"
    beta: float = 2.0
    gamma: float = 1.0
    """Target margin, at least 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("gamma", self.gamma >= 0, "a number of at least 0")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        margin = pairs.chosen / pairs.chosen_tokens - pairs.rejected / pairs.rejected_tokens
        return log_loss(self.beta * margin - self.gamma)


@dataclass(frozen=True, kw_only=True)
class Cpo(BetaLoss[PairLogProbs]):
    """CPO: ``-log sigmoid(β (log π(w) - log π(l))) + alpha NLL(w)`` (Xu et al., 2024, https://arxiv.org/abs/2401.08417).

    The supervised term is per token, see :meth:`PairLogProbs.nll`.
    """

    name: ClassVar[str] = "cpo"
    batch_level: ClassVar[bool] = True
    alpha: float = 1.0
    """Weight of the supervised term, at least 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("alpha", self.alpha >= 0, "a number of at least 0")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        return log_loss(self.beta * (pairs.chosen - pairs.rejected)) + self.alpha * pairs.nll()


@dataclass(frozen=True, kw_only=True)
class Orpo(BetaLoss[PairLogProbs]):
    """ORPO: ``NLL(w) - β log sigmoid(log odds(w) - log odds(l))`` (Hong et al., 2024, https://arxiv.org/abs/2403.07691).

    ``log odds(y) = m - log(1 - e^m)`` with the mean ``m`` of the answer's log-probabilities per token; β is the paper's
    λ. The supervised term covers the answer alone: TRL's covers the prompt too, which contains the medium here.
    """

    name: ClassVar[str] = "orpo"
    batch_level: ClassVar[bool] = True

    def odds_term(self, pairs: PairLogProbs) -> Tensor:
        """``-log sigmoid(log odds(w) - log odds(l))``, ``[B]``."""
        chosen = (pairs.chosen / pairs.chosen_tokens).clamp(max=_LARGEST)
        rejected = (pairs.rejected / pairs.rejected_tokens).clamp(max=_LARGEST)
        return log_loss((chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected)))

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        return pairs.nll() + self.beta * self.odds_term(pairs)


def log1mexp(x: Tensor) -> Tensor:
    """``log(1 - e^x)`` for negative x, without cancellation, with a finite gradient in both branches.

    Above ``-ln 2`` it is ``log(-expm1(x))``, below ``log1p(-exp(x))`` (Mächler, 2012,
    https://cran.r-project.org/web/packages/Rmpfr/vignettes/log1mexp-note.pdf).
    """
    near = x > -LN2
    # Each branch gets only its own half, because the gradient of the other branch would be 0 times infinity.
    small, large = x.where(near, x.new_tensor(-LN2)), x.where(~near, x.new_tensor(-LN2))
    return (-small.expm1()).log().where(near, (-large.exp()).log1p())
