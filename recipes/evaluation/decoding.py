"""Prompt and generation options of held-out questions, as fields of the command line. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import Message
from inlay.recipes.data.preparation.instruction_templates import blip_question
from inlay.recipes.data.preparation.stage_samples import with_words
from inlay.recipes.settings.errors import SettingsError

if TYPE_CHECKING:
    from inlay.adapters.conversation.layout import Layout
    from inlay.adapters.conversation.messages import Message

__all__ = ["AnswerSettings", "candidates_of"]

HOLE = "{}"
"""Placeholder of the question in a prompt, as in :data:`inlay.adapters.conversation.segments.HOLE`."""


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """Generation options and prompt."""

    decoding: Literal["greedy", "published"] = "greedy"
    """Defaults of the fields below: greedy, or as published for the system, such as five beams."""
    num_beams: int | None = None
    """Number of beams in beam search."""
    length_penalty: float | None = None
    """Exponent of the length by which a beam's score is divided; below 0 favours short answers."""
    min_new_tokens: int | None = None
    """Minimum tokens of an answer."""
    max_new_tokens: int | None = None
    """Maximum tokens of an answer. If empty: 8 more than the longest reference answer, and at least 16 for short
    answers, 50 for captions, 128 for free text and 64 for generated media."""
    repetition_penalty: float | None = None
    """Above 1, tokens that the answer already contains become less likely."""
    prompt: str | None = None
    """Prompt of a question, such as ``Question: {} Short answer:``; the bundle's own prompt if not given."""
    phrasing: Literal["as_is", "blip"] = "as_is"
    """``blip``: questions in lower case without most punctuation, as in the evaluation of BLIP-2 and InstructBLIP."""
    rank: str | None = None
    """Choose the most likely of these answers, instead of generating one: ``yes,no``, or a ``.txt`` file of lines."""

    def __post_init__(self) -> None:
        for name in ("num_beams", "max_new_tokens"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise SettingsError(f"{name}: expected a number from 1, got {value}")
        if (self.min_new_tokens or 0) < 0 or (self.repetition_penalty is not None and self.repetition_penalty <= 0):
            raise SettingsError("expected min_new_tokens >= 0 and repetition_penalty > 0")
        if self.max_new_tokens is not None and (self.min_new_tokens or 0) > self.max_new_tokens:
            raise SettingsError(
                f"min_new_tokens: expected at most max_new_tokens {self.max_new_tokens}, got {self.min_new_tokens}"
            )
        if self.prompt is not None and self.prompt.count(HOLE) > 1:
            raise SettingsError(f"prompt: expected one {HOLE} for the question, or none, got {self.prompt!r}")
        if self.rank is not None and (self.options or self.decoding != "greedy"):
            raise SettingsError("rank: ranked answers are not generated; remove decoding, beams, penalties, tokens")

    @property
    def options(self) -> dict[str, Any]:
        """The generation options that are set."""
        names = [field.name for field in fields(self) if field.name.endswith(("_beams", "_penalty", "_new_tokens"))]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def decoded(self, published: Mapping[str, Any], max_new_tokens: int) -> dict[str, Any]:
        """Options for ``generate``.

        Args:
            published: the published options of the system.
            max_new_tokens: default limit.

        Example:
            >>> AnswerSettings(num_beams=3).decoded({"num_beams": 5, "length_penalty": -1.0}, 16)
            {'max_new_tokens': 16, 'num_beams': 3}
            >>> AnswerSettings(decoding="published", num_beams=3).decoded({"num_beams": 5, "length_penalty": -1.0}, 16)
            {'max_new_tokens': 16, 'num_beams': 3, 'length_penalty': -1.0}
        """
        first = dict(published) if self.decoding == "published" else {}
        return {"max_new_tokens": max_new_tokens} | first | self.options

    def layout(self, own: Layout) -> Layout:
        """The bundle's layout with the chosen prompt."""
        return own if self.prompt is None else replace(own, prompt=self.prompt)

    def phrased(self, prompt: Iterable[Message]) -> tuple[Message, ...]:
        """The conversation with the chosen phrasing of its questions."""
        if self.phrasing == "as_is":
            return tuple(prompt)

        return tuple(with_words(turn, blip_question(turn.text)) if turn.role == "user" else turn for turn in prompt)


def candidates_of(rank: str | None) -> tuple[str, ...]:
    """The answers to rank.

    Raises:
        SettingsError: unreadable file, fewer than two answers, or a duplicate.

    Example:
        >>> candidates_of("yes, no")
        ('yes', 'no')
    """
    if rank is None:
        return ()
    if rank.endswith(".txt"):
        try:
            words = Path(rank).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"rank: {rank}: cannot be read: {error}") from error
    else:
        words = rank.split(",")
    found = [word.strip() for word in words if word.strip()]
    if len(found) < 2 or len(set(found)) < len(found):
        raise SettingsError(f"rank: expected two or more different answers, got {found}")
    return tuple(found)
