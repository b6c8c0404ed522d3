"""Segments: the pieces of a laid-out conversation, in reading order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from inlay.adapters.conversation.messages import MediaPart
from inlay.hub.errors import InlayError

__all__ = [
    "HOLE",
    "MARK_CLOSE",
    "MARK_OPEN",
    "Bos",
    "LayoutError",
    "LayoutWarning",
    "Media",
    "Segment",
    "Text",
    "TooLongError",
]

Bos: TypeAlias = Literal["first", "after_media", "none"]
"""Position of the BOS token: at the start, after the media at the start, or no BOS token at all."""

HOLE = "{}"
"""Placeholder for the user's words in a layout's prompt."""

MARK_OPEN, MARK_CLOSE = "\ue010", "\ue011"
"""Delimits the number of a medium in the assistant's turn; signal tokens later replace the mark."""


class LayoutError(InlayError):
    """A conversation does not fit the layout, the tokenizer or the context."""


class TooLongError(LayoutError):
    """A conversation has more positions than the context, or than the limit of training rows."""


class LayoutWarning(UserWarning):
    """A layout changes a conversation. The warning is given once for each layout and reason."""


@dataclass(frozen=True, slots=True)
class Text:
    """A run of text."""

    text: str
    trained: bool = False
    """Whether the loss is computed on this text."""
    literal: bool = True
    """True for the template's own text, in which ``</s>`` is the special token. False for text from messages, in which
    it is plain text."""
    apart: bool = False
    """Whether this text is tokenised separately from the text before it, as in the authors' code. A tokenizer that puts
    a space before every string (LLaMA's) then puts one here as well."""


@dataclass(frozen=True, slots=True)
class Media:
    """A slot for one medium."""

    part: MediaPart


Segment: TypeAlias = Text | Media
"""A piece of a rendered conversation."""
