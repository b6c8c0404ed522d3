"""DPO and losses on the same difference of log-ratios (Rafailov et al., 2023, https://arxiv.org/abs/2305.18290).

With ``a = log π(w) - log π_ref(w)`` of the chosen and ``b = log π(l) - log π_ref(l)`` of the rejected answer, all of
them are functions of ``Δ = f(a) - f(b)``. DPO has ``f(a) = a``, the score of the reverse KL divergence; other
f-divergences give other scores (Wang et al., 2024, https://arxiv.org/abs/2309.16240), each 0 at ``a = 0``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from inlay.recipes.objectives.preference.losses.registry import LN2, BetaLoss, log_loss
from inlay.recipes.objectives.preference.losses.streams import REFERENCE, PairLogProbs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Contrast", "Discopop", "ExoPair", "Hinge", "Robust", "Sigmoid", "SigmoidNorm"]

_LARGEST_EXPONENT = 80.0
"""``exp`` of it is finite in float32; TRL has the same limit."""


@dataclass(frozen=True, kw_only=True)
class Contrast(BetaLoss[PairLogProbs]):
    """The base of losses on Δ."""

    needs: ClassVar[tuple[str, ...]] = REFERENCE

    divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"] = "reverse_kl"
    """The f-divergence from the reference that the loss regularises."""
    alpha: float = 0.5
    """Order of the alpha divergence; other divergences ignore it, and 1 is the reverse KL divergence."""

    def score(self, ratio: Tensor) -> Tensor:
        """The score of log-ratios, ``[B]``.

        Reverse KL ``a``; forward KL ``1 - e^-a``; Jensen-Shannon ``log 2 + log sigmoid(a)``; alpha
        ``(e^((alpha-1) a) - 1) / (alpha-1)``. Exponents are limited to 80.
        """
        if self.divergence == "forward_kl":
            return -(-ratio).clamp(max=_LARGEST_EXPONENT).expm1()
        if self.divergence == "js":
            return LN2 - log_loss(ratio)
        if self.divergence == "alpha" and abs(self.alpha - 1) > 1e-6:
            return ((self.alpha - 1) * ratio).clamp(max=_LARGEST_EXPONENT).expm1() / (self.alpha - 1)
        return ratio

    def scores(self, pairs: PairLogProbs) -> tuple[Tensor, Tensor]:
        """``f(a)`` and ``f(b)``, ``[B]`` each."""
        return self.score(pairs.ratio("chosen")), self.score(pairs.ratio("rejected"))

    def logits(self, pairs: PairLogProbs) -> Tensor:
        """``β Δ``, ``[B]``."""
        chosen, rejected = self.scores(pairs)
        return self.beta * (chosen - rejected)

    def average_difference(self, pairs: PairLogProbs) -> Tensor:
        """``f(a) / |w| - f(b) / |l|``, ``[B]``, per token."""
        chosen, rejected = self.scores(pairs)
        return chosen / pairs.chosen_tokens - rejected / pairs.rejected_tokens


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Contrast):
    """DPO: ``-(1-ε) log sigmoid(βΔ) - ε log sigmoid(-βΔ)``.

    With ``ε > 0`` it is cDPO (Mitchell, 2023, https://ericmitchell.ai/cdpo.pdf) for labels of which a share ε is wrong.
    ms-swift and Liger do the same; TRL 1.16 ignores ``label_smoothing`` here.
    """

    name: ClassVar[str] = "sigmoid"
    label_smoothing: float = 0.0
    """ε, from 0 to 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("label_smoothing", 0 <= self.label_smoothing <= 0.5, "a number from 0 to 0.5")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        logits = self.logits(pairs)
        if not self.label_smoothing:
            return log_loss(logits)
        return (1 - self.label_smoothing) * log_loss(logits) + self.label_smoothing * log_loss(-logits)

    def first_step(self) -> float:
        """``ln 2``."""
        return LN2


@dataclass(frozen=True, kw_only=True)
class SigmoidNorm(Contrast):
    """Length-normalised DPO: ``-log sigmoid(β (f(a)/|w| - f(b)/|l|))`` (Tülu 3, https://arxiv.org/abs/2411.15124).

    Differences per token are small: the paper uses β = 5.
    """

    name: ClassVar[str] = "sigmoid_norm"
    beta: float = 5.0

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        return log_loss(self.beta * self.average_difference(pairs))

    def first_step(self) -> float:
        """``ln 2``."""
        return LN2


@dataclass(frozen=True, kw_only=True)
class Robust(Contrast):
    """``[-(1-ε) log sigmoid(βΔ) + ε log sigmoid(-βΔ)] / (1-2ε)`` (Chowdhury et al., 2024, https://arxiv.org/abs/2403.00409).

    Its mean over labels that are wrong with probability ε is DPO's loss with right labels.
    """

    name: ClassVar[str] = "robust"
    label_smoothing: float = 0.1
    """ε, from 0 to below 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("label_smoothing", 0 <= self.label_smoothing < 0.5, "a number from 0 to below 0.5")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        logits, wrong = self.logits(pairs), self.label_smoothing
        return ((1 - wrong) * log_loss(logits) - wrong * log_loss(-logits)) / (1 - 2 * wrong)

    def first_step(self) -> float:
        """``ln 2``."""
        return LN2


@dataclass(frozen=True, kw_only=True)
class ExoPair(Contrast):
    """EXO: ``q (log q - log(1-ε)) + p (log p - log ε)`` with ``q = sigmoid(βΔ)``, ``p = sigmoid(-βΔ)``.

    It is the reverse KL divergence from the smoothed labels (Ji et al., 2024, https://arxiv.org/abs/2402.00856, eq.
    16).
    """

    name: ClassVar[str] = "exo_pair"
    label_smoothing: float = 1e-3
    """ε, above 0 and below 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("label_smoothing", 0 < self.label_smoothing < 0.5, "a number above 0 and below 0.5")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        logits = self.logits(pairs)
        right = logits.sigmoid() * (-log_loss(logits) - math.log1p(-self.label_smoothing))
        return right + (-logits).sigmoid() * (-log_loss(-logits) - math.log(self.label_smoothing))

    def first_step(self) -> float:
        """``-ln 2 - (log(1-ε) + log ε) / 2``."""
        return -LN2 - (math.log1p(-self.label_smoothing) + math.log(self.label_smoothing)) / 2


@dataclass(frozen=True, kw_only=True)
class Hinge(Contrast):
    """``max(0, 1 - βΔ)`` (SLiC: Zhao et al., 2023, https://arxiv.org/abs/2305.10425)."""

    name: ClassVar[str] = "hinge"

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        return (1 - self.logits(pairs)).relu()

    def first_step(self) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Discopop(Contrast):
    """``-(1-s) log sigmoid(z) + s e^-z`` with ``z = βΔ``, ``s = sigmoid(z/τ)``.

    A loss that a language model proposed (Lu et al., 2024, https://arxiv.org/abs/2406.08414, eq. 5).
    """

    name: ClassVar[str] = "discopop"
    tau: float = 0.05
    """Temperature of the blend, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("tau", self.tau > 0, "a number above 0")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``; both factors of ``s e^-z`` are multiplied as logarithms, or it overflows."""
        logits = self.logits(pairs)
        return (-logits / self.tau).sigmoid() * log_loss(logits) + (-log_loss(logits / self.tau) - logits).exp()

    def first_step(self) -> float:
        """``(ln 2 + 1) / 2``."""
        return (LN2 + 1) / 2
