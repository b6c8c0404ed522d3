"""P-Former as two objectives (Jian et al., 2023, https://arxiv.org/abs/2307.07063): the teacher, and its student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inlay.recipes.settings.objective import Objective, ObjectiveError

__all__ = ["PFormerStudent", "PFormerTeacher"]


@dataclass(frozen=True, kw_only=True)
class PFormerTeacher(Objective):
    """The teacher's own stage: it learns from captions alone."""

    name: ClassVar[str] = "pformer_teacher"
    planner: ClassVar[str] = "inlay.recipes.objectives.pformer.planning:teacher_plan"
    parts: ClassVar[tuple[str, ...]] = ("teacher",)

    bert: str = "bert-base-uncased"
    """Hub id or folder of the BERT that the teacher starts from; the prompt tokenizer has to be its own."""
    masked: float = 0.25
    """Share of a caption's words that are masked for the teacher."""
    vocabulary: float = 1.0
    """Weight of the distance between prompts and the LLM's nearest embeddings."""
    text_tokens: int = 32
    """Tokens that a caption is cut to."""

    def __post_init__(self) -> None:
        if not 0 <= self.masked < 1 or self.vocabulary < 0 or self.text_tokens < 4:
            raise ObjectiveError(
                f"{self.name}: masked lies between 0 and 1, vocabulary is not negative, text_tokens is at least 4"
            )


@dataclass(frozen=True, kw_only=True)
class PFormerStudent(Objective):
    """Next-token prediction with the teacher's prompts as an extra target."""

    name: ClassVar[str] = "pformer_student"
    planner: ClassVar[str] = "inlay.recipes.objectives.pformer.planning:student_plan"

    align: float = 1.0
    """Weight of the distance between the projector's prompts and the teacher's."""
    text_tokens: int = 32
    """Tokens that a caption is cut to."""

    def __post_init__(self) -> None:
        if self.align < 0 or self.text_tokens < 4:
            raise ObjectiveError(f"{self.name}: align is not negative, text_tokens is at least 4")
