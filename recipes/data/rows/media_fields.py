"""Fields of a row that name media, in any format, and an error for media fields that the format does not read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, get_args

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.adapters.media.modality import Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import image_list, text
from inlay.recipes.data.rows.sample import DataError

__all__ = ["FIELDS", "media_lists", "refuse_unread", "with_system"]

FIELDS: dict[Modality, tuple[str, str]] = {
    "image": ("image", "images"),
    "audio": ("audio", "audios"),
    "video": ("video", "videos"),
    "features": ("features", "feature_files"),
}
"""Modality -> names of the field of its files."""

_WORDS: dict[Modality, str] = {
    "image": "image|img|picture|photo",
    "audio": "audio|sound|speech|wav",
    "video": "video|clip|movie",
    "features": "feature",
}
_NAMED = {
    modality: re.compile(rf"(?:{words})s?(?:_?(?:path|file|name|filename|url|list|bytes|base64)s?)?", re.IGNORECASE)
    for modality, words in _WORDS.items()
}


def media_lists(item: Mapping[str, Any], where: str) -> dict[Modality, list[str]]:
    """The files of a row, by modality.

    Raises:
        DataError: both names of a field, or a value that is neither a path nor a list of paths.

    Example:
        >>> media_lists({"image": "1.png", "videos": ["a.mp4"]}, "train.json, item 0")
        {'image': ['1.png'], 'audio': [], 'video': ['a.mp4'], 'features': []}
    """
    found: dict[Modality, list[str]] = {}
    for modality, names in FIELDS.items():
        given = [name for name in names if item.get(name) is not None]
        if len(given) > 1:
            raise DataError(f"{where}: expected {' or '.join(given)}, got both; leave one out")
        found[modality] = image_list(item[given[0]], f"{where}, {given[0]}") if given else []
    return found


def refuse_unread(item: Mapping[str, Any], read: Collection[str], where: str, *, system: bool = False) -> None:
    """Check that a row has no medium and no system message in a field that its format does not read.

    Further fields of a modality that is read, such as an ``image_url`` beside ``image``, count as metadata.

    Args:
        item: the row.
        read: fields that the format reads.
        where: the row's place, for errors.
        system: whether the format reads the field ``system``.

    Raises:
        DataError: with the field and a form of the row that would be read.

    Example:
        >>> refuse_unread({"image": "1.png", "text": "a", "audio": "1.wav"}, ("image", "text"), "a.jsonl, line 1")
        Traceback (most recent call last):
        inlay.recipes.data.rows.sample.DataError: a.jsonl, line 1, audio: '1.wav' would not be read; this format reads \
image. Remove the field, or write the row as {"messages": [...], "audios": [...]}
    """
    seen = {modality for modality in get_args(Modality) if any(_is(modality, name) for name in read if item.get(name))}
    for name, value in item.items():
        if name in read or not value:
            continue
        modality = next((kind for kind in get_args(Modality) if _is(kind, name)), None)
        plain = modality is not None and name in FIELDS[modality]
        if modality is not None and (plain or modality not in seen) and isinstance(value, str | list | dict):
            known = [field for field in read if any(_is(kind, field) for kind in get_args(Modality))]
            raise DataError(
                f"{where}, {name}: {shown(value)} would not be read; this format reads {', '.join(known or read)}. "
                f'Remove the field, or write the row as {{"messages": [...], "{FIELDS[modality][1]}": [...]}}'
            )
        if name == "system" and not system:
            raise DataError(
                f"{where}, system: {shown(value)} would not be read by this format; write it with "
                "--stages.STAGE.system, or write the row as messages with a system message in front"
            )


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


def _is(modality: Modality, name: str) -> bool:
    return _NAMED[modality].fullmatch(name) is not None
