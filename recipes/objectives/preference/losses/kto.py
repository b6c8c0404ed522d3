"""KTO: single answers with a label instead of pairs (Ethayarajh et al., 2024, https://arxiv.org/abs/2402.01306).

``a`` is the log-ratio of an answer. A desirable answer should have a larger one than the policy has on average, an
undesirable one a smaller. The average is estimated on mismatched rows, each prompt with the answer of another row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from inlay.recipes.objectives.preference.losses.registry import BetaLoss
from inlay.recipes.objectives.preference.losses.streams import LogProbs, LossError, UnpairedLogProbs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ApoZeroUnpaired", "Kto", "kl_estimate"]


@dataclass(frozen=True, kw_only=True)
class ApoZeroUnpaired(BetaLoss[UnpairedLogProbs]):
    """APO zero for single answers: ``w_D (1 - sigmoid(βa))`` for desirable answers, ``w_U sigmoid(βa)`` for others.

    It is KTO with ``kl = 0``.
    """

    name: ClassVar[str] = "apo_zero_unpaired"
    needs: ClassVar[tuple[str, ...]] = ("ref_answer",)
    rows: ClassVar[type[LogProbs]] = UnpairedLogProbs
    desirable_weight: float = 1.0
    """w_D, at least 0; the KTO paper keeps ``w_D · n_D / (w_U · n_U)`` between 1 and 4/3."""
    undesirable_weight: float = 1.0
    """w_U, at least 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("desirable_weight", "undesirable_weight"):
            self.check(setting, getattr(self, setting) >= 0, "a number of at least 0")

    def distance(self, rows: UnpairedLogProbs) -> Tensor:
        """The log-ratio above its zero point, ``[B]``."""
        return rows.ratio("answer")

    def per_row(self, rows: UnpairedLogProbs) -> Tensor:
        """The loss of each answer, ``[B]``; ``1 - sigmoid(x)`` is computed as ``sigmoid(-x)``."""
        logits = self.beta * self.distance(rows)
        good, bad = self.desirable_weight * (-logits).sigmoid(), self.undesirable_weight * logits.sigmoid()
        return good.where(rows.desirable, bad)

    def first_step(self) -> float | None:
        """Half the weight; None if the two weights differ."""
        return self.desirable_weight / 2 if self.desirable_weight == self.undesirable_weight else None


@dataclass(frozen=True, kw_only=True)
class Kto(ApoZeroUnpaired):
    """KTO: ``w_D (1 - sigmoid(β(a - kl)))`` for desirable answers, ``w_U (1 - sigmoid(β(kl - a)))`` for others.

    Batch-level through ``kl``, see :func:`kl_estimate`. At the first step ``kl`` is 0.
    """

    name: ClassVar[str] = "kto"
    needs: ClassVar[tuple[str, ...]] = ("ref_answer", "kl")
    batch_level: ClassVar[bool] = True

    def distance(self, rows: UnpairedLogProbs) -> Tensor:
        """The log-ratio above the divergence, ``[B]``; no gradient flows through the divergence."""
        return rows.ratio("answer") - rows.stream("kl").detach()


def kl_estimate(policy: Tensor, reference: Tensor) -> Tensor:
    """``max(0, mean(log π - log π_ref))`` over mismatched rows, a scalar without gradient.

    Args:
        policy: ``[M]``, the trained model's log-probability of the answer of another row, given the row's own prompt
            and medium; over all processes and micro-batches of a step.
        reference: ``[M]``, the same of the reference.

    Raises:
        LossError: no mismatched row, or different shapes.

    Example:
        >>> import torch
        >>> kl_estimate(torch.tensor([-10.0, -12.0]), torch.tensor([-11.0, -12.0])).item()
        0.5
    """
    if policy.shape != reference.shape or policy.ndim != 1:
        raise LossError(
            f"kto: expected the same mismatched rows [M] from both models, got {list(policy.shape)} and "
            f"{list(reference.shape)}"
        )
    if not len(policy):
        raise LossError(
            "kto: expected mismatched rows, got none: a batch of one row has no answer of another row; use a larger "
            "batch, or the loss apo_zero_unpaired, which needs none"
        )
    return (policy - reference).detach().mean().clamp(min=0)
