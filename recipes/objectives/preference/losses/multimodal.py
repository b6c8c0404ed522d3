"""Losses that also compare images, so that the answer must depend on the image: mDPO and SymMPO.

``m`` is the image of the pair, ``m'`` the other image; ``a(y|m) = log π(y|m) - log π_ref(y|m)``. DPO alone can be
minimised without using the image: the mDPO paper removes the images from the training data with about the same results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from inlay.recipes.objectives.preference.losses.registry import LN2, BetaLoss, log_loss
from inlay.recipes.objectives.preference.losses.streams import IMAGE, REFERENCE, SECOND_ANSWER, PairLogProbs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Mdpo", "Symmpo"]


@dataclass(frozen=True, kw_only=True)
class Mdpo(BetaLoss[PairLogProbs]):
    """mDPO (Wang et al., 2024, https://arxiv.org/abs/2406.11839), with the weights 1 of the released code.

    With ``L(x) = -log sigmoid(βx)`` it is ``L(a(w|m) - a(l|m)) + λ_m L(a(w|m) - a(w|m')) + λ_a L(a(w|m) - δ)``: the
    chosen answer beats the rejected one, is more likely with its image ``m`` than with the corrupted ``m'``, and gets
    more likely than before.
    """

    name: ClassVar[str] = "mdpo"
    needs: ClassVar[tuple[str, ...]] = (*REFERENCE, *IMAGE)
    image_weight: float = 1.0
    """λ_m, weight of the comparison of images, at least 0."""
    anchor_weight: float = 1.0
    """λ_a, weight of the anchor, at least 0."""
    anchor: float = 0.0
    """δ, log-ratio that the chosen answer should exceed, in nats."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("image_weight", "anchor_weight"):
            self.check(setting, getattr(self, setting) >= 0, "a number of at least 0")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        chosen = pairs.ratio("chosen")
        answers = log_loss(self.beta * (chosen - pairs.ratio("rejected")))
        images = log_loss(self.beta * (chosen - pairs.ratio("chosen_other_image")))
        return answers + self.image_weight * images + self.anchor_weight * log_loss(self.beta * (chosen - self.anchor))

    def first_step(self) -> float | None:
        """``(1 + λ_m + λ_a) ln 2``, 3 ln 2 by default; None with an anchor other than 0."""
        return None if self.anchor else (1 + self.image_weight + self.anchor_weight) * LN2


@dataclass(frozen=True, kw_only=True)
class Symmpo(BetaLoss[PairLogProbs]):
    """SymMPO (Liu et al., 2025, https://arxiv.org/abs/2506.11712), with the values of the released code.

    ``m'`` is a similar image with an answer ``y'`` of its own. Answers are compared under the same image only, since
    the partition functions of DPO's derivation cancel only there (mDPO's image term compares two images). With
    ``L(x) = -log sigmoid(βx)``, ``d = a(w|m) - a(y'|m)`` and ``d' = a(y'|m') - a(w|m')`` it is
    ``L(a(w|m) - a(l|m)) + λ [L(d) + L(d')] + L(a(w|m)) + L(a(y'|m')) + μ (d - d')²``.
    """

    name: ClassVar[str] = "symmpo"
    needs: ClassVar[tuple[str, ...]] = (*REFERENCE, *IMAGE, *SECOND_ANSWER)
    image_weight: float = 0.5
    """λ, weight of the two comparisons with the other image's answer, at least 0."""
    anchor_weight: float = 1.0
    """Weight of the two anchors, at least 0."""
    consistency_weight: float = 1e-4
    """μ, weight of the squared difference of the two margins, at least 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("image_weight", "anchor_weight", "consistency_weight"):
            self.check(setting, getattr(self, setting) >= 0, "a number of at least 0")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        """The loss of each pair, ``[B]``."""
        chosen, second = pairs.ratio("chosen"), pairs.ratio("second_answer_other_image")
        margin = chosen - pairs.ratio("second_answer")
        other_margin = second - pairs.ratio("chosen_other_image")
        answers = log_loss(self.beta * (chosen - pairs.ratio("rejected")))
        images = log_loss(self.beta * margin) + log_loss(self.beta * other_margin)
        anchors = log_loss(self.beta * chosen) + log_loss(self.beta * second)
        consistency = (margin - other_margin).square()
        return (
            answers + self.image_weight * images + self.anchor_weight * anchors + self.consistency_weight * consistency
        )

    def first_step(self) -> float:
        """``(1 + 2λ + 2 anchor_weight) ln 2``, which is ``(3 + 2λ) ln 2`` by default."""
        return (1 + 2 * self.image_weight + 2 * self.anchor_weight) * LN2
