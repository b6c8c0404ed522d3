"""P-Former as two objectives (Jian et al., 2023, https://arxiv.org/abs/2307.07063): teacher and student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inlay.recipes.settings.objective import Objective, ObjectiveError

__all__ = ["PFormerStudent", "PFormerTeacher"]


@dataclass(frozen=True, kw_only=True)
class PFormerTeacher(Objective):
    """The teacher's stage, on captions only."""

    name: ClassVar[str] = "pformer_teacher"
    planner: ClassVar[str] = "inlay.recipes.objectives.pformer.planning:teacher_plan"
    parts: ClassVar[tuple[str, ...]] = ("teacher",)
    tiled: ClassVar[bool] = False

    bert: str = "bert-base-uncased"
    """Hub id or folder of the BERT that initialises the teacher; the prompt tokenizer must belong to it."""
    masked: float = 0.25
    """Share of a caption's tokens to mask."""
    vocabulary: float = 1.0
    """Weight of the distance between prompts and the nearest embeddings of the LLM."""
    text_tokens: int = 32
    """Tokens that a caption is cut to."""

    def __post_init__(self) -> None:
        if not 0 <= self.masked < 1 or self.vocabulary < 0 or self.text_tokens < 4:
            raise ObjectiveError(
                f"{self.name}: expected masked from 0 to below 1, vocabulary >= 0 and text_tokens >= 4"
            )


@dataclass(frozen=True, kw_only=True)
class PFormerStudent(Objective):
    """Next-token prediction with the teacher's prompts as an extra target."""

    name: ClassVar[str] = "pformer_student"
    planner: ClassVar[str] = "inlay.recipes.objectives.pformer.planning:student_plan"
    tiled: ClassVar[bool] = False

    align: float = 1.0
    """Weight of the distance between the projector's prompts and the teacher's."""
    text_tokens: int = 32
    """Tokens that a caption is cut to."""

    def __post_init__(self) -> None:
        if self.align < 0 or self.text_tokens < 4:
            raise ObjectiveError(f"{self.name}: expected align >= 0 and text_tokens >= 4")
