"""Segments: the pieces of a laid-out conversation, and what a template may know of the layout it works for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from inlay.adapters.conversation.messages import MediaPart, Message, made_of
from inlay.hub.errors import InlayError

__all__ = [
    "HOLE",
    "Bos",
    "LayoutError",
    "Media",
    "Segment",
    "Style",
    "Template",
    "Text",
    "answer",
    "instruction",
    "media_in",
]

Bos: TypeAlias = Literal["first", "after_media", "none"]
"""Where a BOS token stands: in front of everything, behind the media that stand in front, or nowhere."""

HOLE = "{}"
"""Where the user's words go in a layout's prompt."""


class LayoutError(InlayError):
    """A conversation does not fit the layout, the tokenizer or the context."""


@dataclass(frozen=True, slots=True)
class Text:
    """A run of text."""

    text: str
    trained: bool = False
    """Whether the loss is taken on it."""
    literal: bool = True
    """Written by the template, so that ``</s>`` in it is the token; what people wrote is only ever text."""


@dataclass(frozen=True, slots=True)
class Media:
    """A slot for one medium."""

    part: MediaPart


Segment: TypeAlias = Text | Media


class Style(Protocol):
    """What a template asks of the layout; :class:`inlay.adapters.conversation.layout.Layout` is the one that has it."""

    @property
    def system(self) -> str:
        """System sentence for conversations that bring none."""
        ...

    @property
    def prompt(self) -> str:
        """What becomes of the user's words, which stand where the hole is."""
        ...


@dataclass(frozen=True, slots=True)
class Template:
    """One way to lay a conversation out, and what goes with it where a system was published."""

    lay: Callable[[Style, Sequence[Message], Any, bool], list[Segment]]
    """Style, messages, tokenizer, whether to end where the assistant begins -> segments."""
    bos: Bos = "first"
    """Where its models expect BOS."""
    stop: tuple[str, ...] = ()
    """Texts that end its answers beside EOS."""
    speaker: str = ""
    """The words in front of an answer, where a model is known to write them itself."""
    meta: bool = False
    """Whether an answer is a meta response, see :mod:`inlay.adapters.conversation.meta_response`."""


def instruction(style: Style, message: Message) -> str:
    """The user's words in the layout's prompt; without a hole in the prompt they are left out.

    Example:
        >>> from types import SimpleNamespace
        >>> from inlay.adapters.conversation.messages import TextPart
        >>> asked = Message("user", (TextPart("how many?"),))
        >>> instruction(SimpleNamespace(prompt="Question: {} Short answer:"), asked)
        'Question: how many? Short answer:'
        >>> instruction(SimpleNamespace(prompt="a photo of"), asked)
        'a photo of'
    """
    return style.prompt.replace(HOLE, message.text)


def media_in(message: Message) -> list[Segment]:
    """The media of a message as segments."""
    return [Media(part) for part in message.content if isinstance(part, MediaPart)]


def answer(message: Message, *, space: bool = True) -> list[Segment]:
    """What the assistant says; media that it makes have become signal tokens before.

    Args:
        message: the assistant's.
        space: put one in front, which belongs to the answer.

    Raises:
        LayoutError: something is made, and the adapter has no signal tokens.
    """
    if made := made_of([message]):
        raise LayoutError(
            f"the assistant makes a medium of type {made[0].modality!r}, and this adapter has no signal tokens; "
            "give it token rows for that, or leave the turn out"
        )
    return [Text(" " if space else "", trained=True), Text(message.text, trained=True, literal=False)]
