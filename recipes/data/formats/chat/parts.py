"""The parts of a message, in the forms of transformers, TRL and OpenAI, as parts of canonical messages.

OpenAI's are documented at https://platform.openai.com/docs/guides/images-vision: ``{"type": "image_url", "image_url":
{"url": ...}}`` and ``{"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}``; servers such as vLLM
add ``audio_url`` and ``video_url``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.rows.fields import text
from inlay.recipes.data.rows.media_fields import FIELDS
from inlay.recipes.data.rows.media_values import MediaRules, image_path, medium
from inlay.recipes.data.rows.sample import DataError

__all__ = ["KINDS", "generated_part", "kind_of", "part_of", "source_of"]

KINDS: dict[str, Modality] = {
    **{kind: kind for kind in get_args(Modality)},
    "image_url": "image",
    "input_image": "image",
    "audio_url": "audio",
    "input_audio": "audio",
    "video_url": "video",
    "input_video": "video",
}
"""Type of a part -> its modality."""
_TEXTS = ("text", "input_text", "output_text")
_SOURCES = ("path", "url", "base64", "data", "bytes")


def kind_of(part: Any) -> Modality | None:
    """The modality of a part; None for text and for unknown types."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    return KINDS.get(kind) if isinstance(kind, str) else None


def source_of(part: Mapping[str, Any]) -> tuple[str, Any]:
    """The field of a medium's source, and its value; ``("", None)`` without one.

    A table gives every part all fields, with null in those of other types.

    Example:
        >>> source_of({"type": "image_url", "image_url": {"url": "a.png"}, "text": None})
        ('image_url', {'url': 'a.png'})
    """
    kind = str(part["type"])
    names = dict.fromkeys(("path", kind, KINDS[kind], f"{KINDS[kind]}_url", *_SOURCES))
    for name in names:
        if part.get(name) is not None:
            held = part[name]
            return name, {name: held} if name in ("base64", "data", "bytes") and isinstance(held, str) else held
    return "", None


def part_of(part: Any, names: Mapping[Modality, Iterator[Any]], rules: MediaRules, where: str) -> Any:
    """A part of a turn that is not the assistant's.

    Args:
        part: as the row holds it.
        names: the sources of the row's media that parts without a source take, in their order.
        rules: where media may come from.
        where: the place, for errors.

    Raises:
        DataError: a medium without a source, or with one that is refused.
    """
    if not isinstance(part, Mapping):
        return part
    if part.get("type") in _TEXTS:
        return {"type": "text", "text": text(part.get("text"), f"{where}, text")}
    kind = kind_of(part)
    if kind is None:
        return part
    field, value = source_of(part)
    if value is None:
        source = next(names.get(kind, iter(())), None)
        if source is None:
            raise DataError(
                f"{where}: a part of type {kind} without a 'path' and without an entry left in {FIELDS[kind][1]!r}"
            )
        return MediaPart(kind, source)
    return MediaPart(kind, medium(value, kind, rules, f"{where}, {field}"))


def generated_part(part: Any, rules: MediaRules, where: str) -> Any:
    """A part of the assistant's turn; `parse_messages` checks that it has a caption or a source.

    Raises:
        DataError: a caption that is not text, or a source that is refused.
    """
    if not isinstance(part, Mapping):
        return part
    if part.get("type") in _TEXTS:
        return {"type": "text", "text": text(part.get("text"), f"{where}, text")}
    kind = kind_of(part)
    if kind is None:
        return part
    caption = part.get("caption")
    found: dict[str, Any] = {"type": kind, "caption": text("" if caption is None else caption, f"{where}, caption")}
    field, value = source_of(part)
    if value is not None:
        found["path"] = medium(value, kind, rules, f"{where}, {field}")
    if part.get("embedding") is not None:
        name = text(part["embedding"], f"{where}, embedding")
        found["embedding"] = image_path(name, rules, f"{where}, embedding")
    return found
