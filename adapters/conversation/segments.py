"""Segments: the pieces of a laid-out conversation, in reading order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from inlay.adapters.conversation.messages import MediaPart
from inlay.hub.errors import InlayError

__all__ = ["HOLE", "Bos", "LayoutError", "LayoutWarning", "Media", "Segment", "Text"]

Bos: TypeAlias = Literal["first", "after_media", "none"]
"""Position of the BOS token: at the start, behind the media at the start, or no BOS token at all."""

HOLE = "{}"
"""Placeholder for the user's words in a layout's prompt."""


class LayoutError(InlayError):
    """A conversation does not fit the layout, the tokenizer or the context."""


class LayoutWarning(UserWarning):
    """A layout changes a conversation; given once for each layout and reason."""


@dataclass(frozen=True, slots=True)
class Text:
    """A run of text."""

    text: str
    trained: bool = False
    """Whether the loss is computed on it."""
    literal: bool = True
    """True for the template's own text, in which ``</s>`` is the special token. False for text from messages, in which
    it is plain text."""


@dataclass(frozen=True, slots=True)
class Media:
    """A slot for one medium."""

    part: MediaPart


Segment: TypeAlias = Text | Media
