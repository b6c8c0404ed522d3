"""Messages of a request as a conversation in canonical form."""

from __future__ import annotations

from collections.abc import Sequence

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, Role, TextPart
from inlay.adapters.media.modality import Modality
from inlay.recipes.serve.errors import ApiError
from inlay.recipes.serve.limits import Limits
from inlay.recipes.serve.request.media import MediaReader
from inlay.recipes.serve.request.schema import AudioData, InputMessage, InputPart

__all__ = ["conversation"]

_MODALITIES: dict[str, Modality] = {
    "image_url": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
}


def conversation(messages: Sequence[InputMessage], reader: MediaReader, limits: Limits) -> tuple[Message, ...]:
    """The conversation of a request, with its media in memory.

    Args:
        messages: checked.
        reader: reads the media.
        limits: of messages and characters.

    Raises:
        ApiError: names the message and the part.
    """
    if len(messages) > limits.messages:
        raise ApiError(
            f"messages: expected at most {limits.messages}, got {len(messages)}", status=413, param="messages"
        )
    if messages[-1].role != "user":
        raise ApiError(f"messages: expected the last one to be the user's, got {messages[-1].role!r}", param="messages")
    found: list[Message] = []
    left = limits.characters
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        parts = _parts(message, reader, where)
        left -= sum(len(part.text) for part in parts if isinstance(part, TextPart))
        if left < 0:
            raise ApiError(
                f"{where}: the texts have more than {limits.characters:,} characters", status=413, param="messages"
            )
        if not parts and message.role != "assistant":
            raise ApiError(f"{where}.content: expected text or parts, got none", param=f"{where}.content")
        role: Role = "system" if message.role == "developer" else message.role
        found.append(Message(role, tuple(parts)))
    return tuple(found)


def _parts(message: InputMessage, reader: MediaReader, where: str) -> list[Part]:
    content = message.content
    if isinstance(content, str):
        parts: list[Part] = [TextPart(_unicode(content, f"{where}.content"))] if content else []
    else:
        parts = [
            _part(part, message.role, reader, f"{where}.content[{place}]") for place, part in enumerate(content or [])
        ]
    if message.role == "assistant":
        made = message.media or []
        parts += [_part(part, message.role, reader, f"{where}.media[{place}]") for place, part in enumerate(made)]
    return parts


def _part(part: InputPart, role: str, reader: MediaReader, where: str) -> Part:
    value = part.value
    if part.type == "text":
        return TextPart(_unicode(str(value), where))
    modality = _MODALITIES[part.type]
    if role in {"system", "developer"}:
        raise ApiError(f"{where}: expected text in a {role} message, got {part.type}", param=where)
    if value is None:
        raise ApiError(f"{where}: expected the field {part.type!r}", param=where)
    source = reader.read(modality, value if isinstance(value, AudioData) else value.url, where)
    return MadePart(modality, source=source) if role == "assistant" else MediaPart(modality, source)


def _unicode(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ApiError(f"{where}: expected Unicode text, got a lone surrogate; remove it", param=where) from None
    return text
