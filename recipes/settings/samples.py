"""How the samples of a file become those of a stage: one dialogue or several, wordings, answers, direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["SampleSettings"]


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """Changes of the samples of a stage; none by default."""

    turns: Literal["together", "apart"] = "together"
    """A dialogue is one sample, or each of its questions is one, with the picture."""
    phrasing: Literal["as_is", "blip"] = "as_is"
    """``blip``: questions and captions in lower case without most punctuation, at most 50 words."""
    templates: Literal["none", "instruct", "describe"] = "none"
    """Words around questions and in front of captions (``instruct``), or in front of long descriptions."""
    answers: Literal["said", "sampled"] = "said"
    """The target where several people answered: the assistant's turn, or one answer drawn anew in each epoch."""
    split: Literal["none", "random"] = "none"
    """``random``: a caption is cut at a random place; its beginning is read and the rest is written (T5)."""
    direction: Literal["as_is", "make", "echo"] = "as_is"
    """Of captioned media: ``make`` exchanges the roles, so that the user gives the caption and the medium is generated;
    with ``echo`` the assistant repeats the caption first."""

    @property
    def varies(self) -> bool:
        """Whether a sample differs from epoch to epoch."""
        return self.split == "random" or self.answers == "sampled" or self.templates != "none"
