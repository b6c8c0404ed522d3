"""Fields of a row that name media and the system message, in any format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.rows.fields import text
from inlay.recipes.data.rows.media_values import MediaRules, Root, medium, values_of
from inlay.recipes.data.rows.sample import DataError

__all__ = ["FIELDS", "MEDIA_FIELDS", "media_lists", "with_system"]

FIELDS: dict[Modality, tuple[str, str]] = {
    "image": ("image", "images"),
    "audio": ("audio", "audios"),
    "video": ("video", "videos"),
    "features": ("features", "feature_files"),
}
"""Modality -> names of the field of its media."""
MEDIA_FIELDS = tuple(name for names in FIELDS.values() for name in names)
_MODALITIES = {name: modality for modality, names in FIELDS.items() for name in names}


def media_lists(item: Mapping[str, Any], root: Root, where: str) -> dict[Modality, list[Any]]:
    """The sources of a row's media, by modality; see :func:`~inlay.recipes.data.rows.media_values.medium`.

    Raises:
        DataError: both names of a field, or a value that is not a medium or that the rules refuse.

    Example:
        >>> found = media_lists({"image": "1.png"}, "/images", "train.json, item 0")
        >>> [path.as_posix() for path in found["image"]]
        ['/images/1.png']
    """
    rules = MediaRules.of(root)
    found: dict[Modality, list[Any]] = {modality: [] for modality in FIELDS}
    for name in item:
        if name not in _MODALITIES or not _held(item[name]):
            continue
        modality = _MODALITIES[name]
        if found[modality]:
            raise DataError(f"{where}: expected {' or '.join(FIELDS[modality])}, got both; leave one out")
        held = values_of(item[name])
        place = f"{where}, {name}"
        if len(held) == 1:
            found[modality] = [medium(held[0], modality, rules, place)]
        else:
            found[modality] = [medium(value, modality, rules, f"{place}[{n}]") for n, value in enumerate(held)]
    return found


def _held(value: object) -> bool:
    """Whether a field has a value; a table gives null or an empty list to rows without media."""
    return value is not None and not (isinstance(value, (list, tuple)) and not value)


def with_system(item: Mapping[str, Any], messages: tuple[Message, ...], where: str) -> tuple[Message, ...]:
    """The messages with the row's field ``system`` as a system message in front.

    Raises:
        DataError: a value that is not text, or a different system message in the first turn.
    """
    said = item.get("system")
    if said is None or said == "":
        return messages
    message = Message("system", (TextPart(text(said, f"{where}, system")),))
    if messages and messages[0].role == "system":
        if messages[0].text == message.text:
            return messages
        raise DataError(f"{where}, system: the first turn is a different system message; leave one of them out")
    return (message, *messages)
