"""Weighted sums of losses: the supervised term, RPO, MPO, and user-defined sums.

Iterative RPO is DPO with a supervised term (Pang et al., 2024, https://arxiv.org/abs/2404.19733), MPO adds a term on
each answer alone (Wang et al., 2024, https://arxiv.org/abs/2411.10442, InternVL).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from inlay.recipes.objectives.preference.losses.bco_nca import BcoPair
from inlay.recipes.objectives.preference.losses.dpo import Sigmoid
from inlay.recipes.objectives.preference.losses.registry import BetaLoss, PreferenceLoss
from inlay.recipes.objectives.preference.losses.streams import REFERENCE, LossError, PairLogProbs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Mpo", "Rpo", "Sft", "WeightedSum"]


@dataclass(frozen=True, kw_only=True)
class Sft(PreferenceLoss[PairLogProbs]):
    """The negative log-likelihood of the chosen answers, per token; batch-level, see :meth:`PairLogProbs.nll`."""

    name: ClassVar[str] = "sft"
    batch_level: ClassVar[bool] = True

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The share of each pair, ``[B]``."""
        return pairs.nll()


@dataclass(frozen=True, kw_only=True)
class WeightedSum(PreferenceLoss[PairLogProbs]):
    """``Σ weight · loss``, with separate settings for each loss.

    Example:
        >>> WeightedSum(terms=((0.8, Sigmoid(beta=0.1)), (0.2, BcoPair(beta=0.1)))).needs_reference
        True
    """

    name: ClassVar[str] = "sum"
    terms: tuple[tuple[float, PreferenceLoss[Any]], ...]
    """Weights above 0, and the losses."""

    def __post_init__(self) -> None:
        for weight, loss in self.terms:
            if not weight > 0:
                raise LossError(f"sum: expected weights above 0, got {weight} for {loss.name}")
            if loss.rows is not PairLogProbs:
                raise LossError(f"sum: expected losses of pairs, got {loss.name}, which compares single answers")
        if not self.terms:
            raise LossError("sum: expected at least one loss, got none")
        # The declared streams of a sum are those of its terms, so they belong to the object, not to the class.
        object.__setattr__(self, "needs", tuple(dict.fromkeys(name for _, loss in self.terms for name in loss.needs)))
        object.__setattr__(self, "batch_level", any(loss.batch_level for _, loss in self.terms))

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        first, *others = (weight * loss(pairs) for weight, loss in self.terms)
        for other in others:
            first = first + other
        return first

    def first_step(self) -> float | None:
        """The weighted sum; None if one of the losses has none."""
        total = 0.0
        for weight, loss in self.terms:
            if (value := loss.first_step()) is None:
                return None
            total += weight * value
        return total


@dataclass(frozen=True, kw_only=True)
class Rpo(BetaLoss[PairLogProbs]):
    """RPO: ``-log sigmoid(βΔ) + alpha NLL(w)``: DPO with a supervised term, per token of all chosen answers.

    Also ms-swift's ``rpo_alpha`` and LLaMA-Factory's ``pref_ftx``; :meth:`PairLogProbs.nll` describes how averages
    differ.
    """

    name: ClassVar[str] = "rpo"
    needs: ClassVar[tuple[str, ...]] = REFERENCE
    batch_level: ClassVar[bool] = True
    alpha: float = 1.0
    """Weight of the supervised term, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("alpha", self.alpha > 0, "a number above 0")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        return WeightedSum(terms=((1.0, Sigmoid(beta=self.beta)), (self.alpha, Sft())))(pairs)


@dataclass(frozen=True, kw_only=True)
class Mpo(BetaLoss[PairLogProbs]):
    """MPO: ``0.8 sigmoid + 0.2 bco_pair + 1.0 sft``, the weights of InternVL's paper."""

    name: ClassVar[str] = "mpo"
    needs: ClassVar[tuple[str, ...]] = REFERENCE
    batch_level: ClassVar[bool] = True
    preference_weight: float = 0.8
    """Weight of DPO, above 0."""
    quality_weight: float = 0.2
    """Weight of BCO, above 0."""
    generation_weight: float = 1.0
    """Weight of the supervised term, above 0."""
    shift: float = 0.0
    """δ of BCO."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("preference_weight", "quality_weight", "generation_weight"):
            self.check(setting, getattr(self, setting) > 0, "a number above 0")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        terms = (
            (self.preference_weight, Sigmoid(beta=self.beta)),
            (self.quality_weight, BcoPair(beta=self.beta, shift=self.shift)),
            (self.generation_weight, Sft()),
        )
        return WeightedSum(terms=terms)(pairs)
