"""Canonical messages: the one form in which every data set, chat and layout speaks of a conversation.

A conversation is a tuple of :class:`Message`; a message has a role and a tuple of parts; a part is text or one medium.
The dictionary form is the one that transformers' chat templates use::

    [{"role": "user", "content": [{"type": "image", "path": "cards.png"}, {"type": "text", "text": "How many?"}]},
     {"role": "assistant", "content": "Five."}]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from inlay.hub.errors import InlayError

__all__ = ["MediaPart", "Message", "MessageError", "Modality", "Part", "Role", "TextPart", "media_of", "parse_messages"]

Role: TypeAlias = Literal["system", "user", "assistant"]
Modality: TypeAlias = Literal["image", "audio", "video"]


class MessageError(InlayError):
    """A conversation is not in the canonical form; the text names the turn and the field."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text, never parsed for special tokens."""

    text: str


@dataclass(frozen=True, slots=True)
class MediaPart:
    """One image, sound or clip."""

    modality: Modality
    source: Any
    """A path, or an object in memory (for an image a ``PIL.Image.Image``)."""


Part: TypeAlias = TextPart | MediaPart


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts joined, media left out."""
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


def media_of(messages: Iterable[Message]) -> tuple[MediaPart, ...]:
    """All media of a conversation, in the order in which they appear."""
    return tuple(part for message in messages for part in message.content if isinstance(part, MediaPart))


def parse_messages(raw: object) -> tuple[Message, ...]:
    """Check a conversation in dictionary form and return it in canonical form.

    Args:
        raw: a list of ``{"role", "content"}``; content is a string or a list of parts. A media part carries its source
            under ``path``, ``image`` / ``audio`` / ``video``, or is a :class:`MediaPart` itself.

    Raises:
        MessageError: names the turn and the field, what was expected and what came.

    Example:
        >>> parse_messages([{"role": "user", "content": "hello"}])
        (Message(role='user', content=(TextPart(text='hello'),)),)
    """
    if isinstance(raw, str) or not isinstance(raw, Iterable):
        raise MessageError(f"expected a list of messages, got {type(raw).__name__}")
    messages = tuple(_message(item, f"message {index}") for index, item in enumerate(raw))
    if not messages:
        raise MessageError("expected at least one message, got an empty list")
    return messages


def _message(item: object, where: str) -> Message:
    if isinstance(item, Message):
        return item
    if not isinstance(item, Mapping):
        raise MessageError(f"{where}: expected an object with 'role' and 'content', got {type(item).__name__}")
    role: Any = item.get("role")
    content = item.get("content")
    if role not in get_args(Role):
        raise MessageError(f"{where}: role: expected one of {', '.join(get_args(Role))}, got {role!r}")
    if isinstance(content, str):
        return Message(role, (TextPart(content),))
    if not isinstance(content, (list, tuple)):
        raise MessageError(f"{where}: content: expected text or a list of parts, got {type(content).__name__}")
    return Message(role, tuple(_part(part, f"{where}: content[{n}]") for n, part in enumerate(content)))


def _part(part: object, where: str) -> Part:
    if isinstance(part, (TextPart, MediaPart)):
        return part
    if isinstance(part, str):
        return TextPart(part)
    if not isinstance(part, Mapping):
        raise MessageError(f"{where}: expected text or an object with 'type', got {type(part).__name__}")
    kind: Any = part.get("type")
    if kind == "text":
        text = part.get("text")
        if not isinstance(text, str):
            raise MessageError(f"{where}: text: expected a string, got {type(text).__name__}")
        return TextPart(text)
    if kind not in get_args(Modality):
        raise MessageError(f"{where}: type: expected text, {', '.join(get_args(Modality))}, got {kind!r}")
    source = part.get("path", part.get(kind))
    if source is None or source == "":
        raise MessageError(f"{where}: a part of type {kind!r} needs its source under 'path' or {kind!r}")
    return MediaPart(kind, Path(source) if isinstance(source, str) else source)
