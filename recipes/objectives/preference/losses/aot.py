"""AOT: alignment by optimal transport (Melnyk et al., 2024, https://arxiv.org/abs/2406.05882).

The loss compares distributions instead of pairs: both sides are sorted over the batch, then compared rank by rank. So
the loss is batch-level: it depends on which pairs are in one batch (micro-batches and processes sort separately), and
entry ``i`` of the result belongs to rank ``i``, not to pair ``i``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from inlay.recipes.objectives.preference.losses.registry import LN2, BetaLoss, log_loss
from inlay.recipes.objectives.preference.losses.streams import REFERENCE, PairLogProbs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Aot", "AotUnpaired"]


@dataclass(frozen=True, kw_only=True)
class Aot(BetaLoss[PairLogProbs]):
    """``-(1-ε) log sigmoid(βd) - ε log sigmoid(-βd)`` of sorted margins.

    ``d = sort(log π(w) - log π(l)) - sort(log π_ref(w) - log π_ref(l))``. It is small if the margins of the policy are
    larger than those of the reference at every quantile.
    """

    name: ClassVar[str] = "aot"
    needs: ClassVar[tuple[str, ...]] = REFERENCE
    batch_level: ClassVar[bool] = True
    label_smoothing: float = 0.0
    """ε, from 0 to 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("label_smoothing", 0 <= self.label_smoothing <= 0.5, "a number from 0 to 0.5")

    def difference(self, pairs: PairLogProbs) -> Tensor:
        """``d`` by rank, ``[B]``."""
        reference = pairs.stream("ref_chosen") - pairs.stream("ref_rejected")
        return (pairs.chosen - pairs.rejected).sort().values - reference.sort().values

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each rank, ``[B]``."""
        logits = self.beta * self.difference(pairs)
        return (1 - self.label_smoothing) * log_loss(logits) + self.label_smoothing * log_loss(-logits)

    def first_step(self) -> float:
        """``ln 2``."""
        return LN2


@dataclass(frozen=True, kw_only=True)
class AotUnpaired(Aot):
    """:class:`Aot` with ``d = sort(a) - sort(b)``, the log-ratios of both answers, which need no pairs."""

    name: ClassVar[str] = "aot_unpaired"

    def difference(self, pairs: PairLogProbs) -> Tensor:
        """``d`` by rank, ``[B]``."""
        return pairs.ratio("chosen").sort().values - pairs.ratio("rejected").sort().values
