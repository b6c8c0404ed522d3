"""Canonical messages: the form of a conversation in data sets, chats and layouts.

A conversation is a tuple of :class:`Message`; a message has a role and a tuple of parts; a part is text or one medium.
The dictionary form is that of transformers' chat templates::

    [{"role": "user", "content": [{"type": "image", "path": "cards.png"}, {"type": "text", "text": "How many?"}]},
     {"role": "assistant", "content": "Five."}]

A medium has its source under ``path``, under its type (``image``), or as an encoded file under ``data``: bytes, base64
or a ``data:`` URI.

A medium to be generated is a part of the assistant's turn, given as a caption, as the medium itself, or as both::

    {"role": "assistant", "content": ["Here it is.", {"type": "audio", "caption": "rain on a tin roof"}]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from unicodedata import category

from inlay.adapters.media.errors import MediaError
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.adapters.media.sources import IN_MEMORY, MediaBytes, data_uri, from_base64
from inlay.hub.errors import InlayError

__all__ = [
    "MadePart",
    "MediaPart",
    "Message",
    "MessageError",
    "Part",
    "Role",
    "TextPart",
    "join_texts",
    "made_of",
    "media_of",
    "parse_messages",
]

Role: TypeAlias = Literal["system", "user", "assistant"]


class MessageError(InlayError):
    """A conversation is not in the canonical form; the text names the turn and the field."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text. A special token spelled in it is tokenised as plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class MediaPart:
    """One image, sound, clip, or file of features."""

    modality: Modality
    source: Any
    """A path, an encoded file in memory (:class:`~inlay.adapters.media.sources.MediaBytes`), or an object in memory
    (for an image a ``PIL.Image.Image``)."""


@dataclass(frozen=True, slots=True)
class MadePart:
    """One image, sound or clip in the assistant's turn, which is generated."""

    modality: Modality
    caption: str = ""
    """Its content in words, for a generator's own text encoder. Empty when unknown."""
    source: Any = None
    """The medium itself, if available: a path, or an object in memory."""
    embedding: Path | None = None
    """``.npy`` file with the precomputed output of the generator's text encoder for the caption."""


Part: TypeAlias = TextPart | MediaPart | MadePart


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts without the media, joined by a space wherever two words would otherwise run together.

        Example:
            >>> Message("user", (TextPart("which"), TextPart("one"), TextPart("?"))).text
            'which one?'
        """
        return join_texts(part.text for part in self.content if isinstance(part, TextPart))


def join_texts(texts: Iterable[str]) -> str:
    """Join texts by a space, except next to white space, after an opening bracket and before closing punctuation.

    Example:
        >>> join_texts(["A:", "B: ", "which", ", (", "left", ")?"])
        'A: B: which, (left)?'
    """
    joined: list[str] = []
    for text in filter(None, texts):
        if joined and not _touches(joined[-1][-1], text[0]):
            joined.append(" ")
        joined.append(text)
    return "".join(joined)


def _touches(before: str, after: str) -> bool:
    """Whether two characters need no space between them."""
    # Private-use characters are placeholders of media, around which the template sets the spaces.
    return (
        before.isspace()
        or after.isspace()
        or before in "([{"
        or after in ".,;:!?)]}%"
        or "Co" in (category(before), category(after))
    )


def media_of(messages: Iterable[Message]) -> tuple[MediaPart, ...]:
    """All media of a conversation, in the order in which they appear."""
    return tuple(part for message in messages for part in message.content if isinstance(part, MediaPart))


def made_of(messages: Iterable[Message]) -> tuple[MadePart, ...]:
    """All media in the assistant's turns of a conversation, in the order in which they appear."""
    return tuple(part for message in messages for part in message.content if isinstance(part, MadePart))


def parse_messages(raw: object) -> tuple[Message, ...]:
    """Check a conversation in dictionary form and return it in canonical form.

    Args:
        raw: a list of ``{"role", "content"}``; content is a string or a list of parts. A media part has its source
            under ``path``, ``image`` / ``audio`` / ``video`` / ``features`` or ``data``, or is a :class:`MediaPart`
            itself. In the assistant's turn it becomes a :class:`MadePart`, which has a ``caption``, a source, or both.
            The assistant's content may be empty, since an answer may be.

    Raises:
        MessageError: names the turn and the field, with the expected and the given value.

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
        return _not_empty(item, where)
    if not isinstance(item, Mapping):
        raise MessageError(f"{where}: expected an object with 'role' and 'content', got {type(item).__name__}")
    role: Any = item.get("role")
    content = item.get("content")
    if role not in get_args(Role):
        raise MessageError(f"{where}: role: expected one of {', '.join(get_args(Role))}, got {role!r}")
    if isinstance(content, str):
        return Message(role, (TextPart(_unicode(content, f"{where}: content")),))
    if not isinstance(content, (list, tuple)):
        raise MessageError(f"{where}: content: expected text or a list of parts, got {type(content).__name__}")
    made = role == "assistant"
    parts = tuple(_part(part, f"{where}: content[{n}]", made=made) for n, part in enumerate(content))
    return _not_empty(Message(role, parts), where)


def _not_empty(message: Message, where: str) -> Message:
    if not message.content and message.role != "assistant":
        raise MessageError(
            f"{where}: content: expected text or at least one part from the {message.role}, got an empty list"
        )
    return message


def _part(part: object, where: str, *, made: bool) -> Part:
    if isinstance(part, MadePart) and not made:
        raise MessageError(f"{where}: only the assistant generates media; give {part.modality!r} with a source")
    if isinstance(part, MediaPart) and made:
        _check_makeable(part.modality, where)
        return MadePart(part.modality, source=part.source)
    if isinstance(part, (TextPart, MediaPart, MadePart)):
        return part
    if isinstance(part, str):
        return TextPart(_unicode(part, where))
    if not isinstance(part, Mapping):
        raise MessageError(f"{where}: expected text or an object with 'type', got {type(part).__name__}")
    kind: Any = part.get("type")
    if kind == "text":
        text = part.get("text")
        if not isinstance(text, str):
            raise MessageError(f"{where}: text: expected a string, got {type(text).__name__}")
        return TextPart(_unicode(text, f"{where}: text"))
    if kind not in get_args(Modality):
        raise MessageError(f"{where}: type: expected text, {', '.join(get_args(Modality))}, got {kind!r}")
    source = _source(part, kind, where)
    if made:
        _check_makeable(kind, where)
        return _made(kind, part, source, where)
    if source is None:
        raise MessageError(f"{where}: a part of type {kind!r} needs its source under 'path', {kind!r} or 'data'")
    return MediaPart(kind, source)


def _check_makeable(kind: Modality, where: str) -> None:
    if kind not in GENERATED:
        raise MessageError(
            f"{where}: the assistant's media are {', '.join(GENERATED)}, got {kind}; move it to the user's turn"
        )


def _source(part: Mapping[str, Any], kind: Modality, where: str) -> Any:
    """The source of a part; None if it has none."""
    source = part.get("path", part.get(kind))
    if source is None and part.get("data") is not None:
        source = part["data"]
        if not isinstance(source, (str, bytes)):
            raise MessageError(f"{where}: data: expected bytes, base64 or a data: URI, got {type(source).__name__}")
        if isinstance(source, str):
            try:
                return data_uri(source, f"{where}: data") or from_base64(source, f"{where}: data")
            except MediaError as error:
                raise MessageError(str(error)) from None
    if isinstance(source, (bytes, bytearray)):
        return MediaBytes(bytes(source), IN_MEMORY)
    if isinstance(source, str):  # an array has no truth value, so only a text is tested for being empty
        try:
            return (data_uri(source, where) or Path(source)) if source else None
        except MediaError as error:
            raise MessageError(str(error)) from None
    return source


def _unicode(text: str, where: str) -> str:
    """Check that a text can be tokenised: a JSON string may contain a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MessageError(
            f"{where}: expected Unicode text, got the lone surrogate U+{ord(text[error.start]):04X} at character "
            f"{error.start}; remove it"
        ) from None
    return text


def _made(kind: Modality, part: Mapping[str, Any], source: Any, where: str) -> MadePart:
    caption, embedding = part.get("caption", ""), part.get("embedding")
    if not isinstance(caption, str):
        raise MessageError(f"{where}: caption: expected a string, got {type(caption).__name__}")
    if source is None and not caption.strip():
        raise MessageError(
            f"{where}: a medium in the assistant's turn needs a 'caption', or a source under 'path' or {kind!r}"
        )
    if embedding is not None and not isinstance(embedding, (str, Path)):
        raise MessageError(f"{where}: embedding: expected the path of an .npy file, got {type(embedding).__name__}")
    return MadePart(
        kind, _unicode(caption, f"{where}: caption").strip(), source, None if embedding is None else Path(embedding)
    )
