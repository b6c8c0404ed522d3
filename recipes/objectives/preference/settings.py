"""Preference tuning as an objective: loss, reference and other medium."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from inlay.recipes.objectives.preference.losses.registry import PreferenceLoss, preference_loss, preference_loss_type
from inlay.recipes.objectives.preference.losses.streams import UnpairedLogProbs
from inlay.recipes.settings.objective import Objective, ObjectiveError, Reads

__all__ = ["OtherImage", "Preference"]

OtherImage: TypeAlias = Literal["mixed", "crop", "blank", "row"]


@dataclass(frozen=True, kw_only=True)
class Preference(Objective):
    """A loss on the log-probabilities of better and worse answers, compared with those of the adapter at the start."""

    name: ClassVar[str] = "preference"
    planner: ClassVar[str] = "inlay.recipes.objectives.preference.planning:preference_plan"
    aligns: ClassVar[bool] = True

    loss: str = "sigmoid"
    """The loss: ``sigmoid`` (DPO), ``mdpo``, ``simpo``, ``kto``, ...; the page "Alignment tuning" of the documentation
    lists all names."""
    options: dict[str, float | str | bool] = field(default_factory=dict)
    """Settings of the loss, such as ``{"beta": 0.1}``; other fields have the published values."""
    reference: Literal["auto", "live", "stored"] = "auto"
    """Computation of the reference's log-probabilities: ``live``, in every step, with a copy of the adapter's initial
    weights; ``stored``, once before training; ``auto`` stores them if a pair is used more than once."""
    other_image: OtherImage = "mixed"
    """The other medium of losses that compare two: ``crop``, a random part of 1 to 20 % of the picture, as in mDPO's
    code; ``blank``, an empty medium; ``row``, the medium of another row; ``mixed``, each of them for a third of the
    media. A model that is trained with one kind only may still
    rank answers by their text for the other kinds."""
    segment_weight: float = 1.0
    """RLHF-V: weight of the tokens in which the two answers differ; 1 for none, 3 in the authors' code."""
    tail: float = 1.0
    """LD-DPO: weight of the longer answer's tokens beyond the length of the shorter one; 1 for none."""
    audit: bool = True
    """Before and after training, compare held-out pairs with the right, an empty and another row's medium."""

    def __post_init__(self) -> None:
        _ = self.function
        if self.segment_weight < 1:
            raise ObjectiveError(f"{self.name}: segment_weight: expected at least 1, got {self.segment_weight}")
        if not 0 <= self.tail <= 1:
            raise ObjectiveError(f"{self.name}: tail: expected a number from 0 to 1, got {self.tail}")

    @property
    def function(self) -> PreferenceLoss[Any]:
        """The loss with its settings."""
        return preference_loss(self.loss, **self.options)

    @property
    def paired(self) -> bool:
        """Whether the loss compares two answers; otherwise it reads single answers with a label."""
        return preference_loss_type(self.loss).rows is not UnpairedLogProbs

    @property
    def reads(self) -> Reads:
        """The rows that the loss needs."""
        return "pairs" if self.paired else "labels"

    @property
    def streams(self) -> tuple[str, ...]:
        """The log-probabilities of the trained model that the loss needs."""
        first = ("chosen", "rejected") if self.paired else ("answer", "mismatched")
        needed = [name.removeprefix("ref_") for name in self.function.needs]
        return tuple(dict.fromkeys([*first, *(name for name in needed if name not in ("kl",))]))

    def check(self, stage: Any) -> None:
        """Check that no sample varies between epochs if the reference is stored."""
        if self.reference == "stored" and stage.samples.varies:
            raise ObjectiveError(
                f"{self.name}: reference: stored log-probabilities need the same texts in every epoch; set "
                "samples.templates to none, samples.answers to reference and samples.split to none, or use live"
            )
