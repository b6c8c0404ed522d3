"""Transformations of a stage's samples: turns, text normalisation, templates, answers, direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["SampleSettings"]


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """Transformations of the samples of a stage; none by default."""

    turns: Literal["together", "apart"] = "together"
    """``together``: a dialogue is one sample; ``apart``: each of its questions is a separate sample with the
    picture."""
    phrasing: Literal["as_is", "blip"] = "as_is"
    """``blip``: questions and captions in lower case without most punctuation, cut to 50 words."""
    templates: Literal["none", "instruct", "describe"] = "none"
    """Instruction templates: ``instruct`` for questions and captions, ``describe`` for long descriptions."""
    answers: Literal["said", "sampled"] = "said"
    """Target of a question with several answers: the assistant's turn, or a random answer in each epoch."""
    split: Literal["none", "random"] = "none"
    """``random``: a caption is split at a random place; the beginning is input and the rest is the target (T5)."""
    direction: Literal["as_is", "make", "echo"] = "as_is"
    """Direction of captioned media: with ``make`` the user gives the caption and the medium is generated; with ``echo``
    the assistant also repeats the caption first."""

    @property
    def varies(self) -> bool:
        """Whether a sample differs from epoch to epoch."""
        return self.split == "random" or self.answers == "sampled" or self.templates != "none"
