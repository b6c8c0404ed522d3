"""Fields that a format does not read: media and fields that change the meaning of a row are errors, others a note.

A row is trained on as it is meant, or refused: tool calls, boxes, and preferences outside of their own formats.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from inlay.adapters.media.modality import Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.media_fields import FIELDS
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError

__all__ = ["REFUSED", "TOOL_ROLES", "refuse_fields", "refuse_in_turn", "refuse_unread"]

_TOOLS = "calls of tools are not trained"
_PREFERENCE = "preferences are not trained by this format"
REFUSED: dict[str, str] = {
    "tools": _TOOLS,
    "functions": _TOOLS,
    "function_call": _TOOLS,
    "tool_calls": _TOOLS,
    "tool_call_id": _TOOLS,
    "chosen": _PREFERENCE,
    "rejected": _PREFERENCE,
    "rejected_response": _PREFERENCE,
    "rejected_messages": _PREFERENCE,
    "rejected_conversations": _PREFERENCE,
    "rejected_images": _PREFERENCE,
    "rejected_audios": _PREFERENCE,
    "rejected_videos": _PREFERENCE,
    "kto_tag": _PREFERENCE,
}
"""Field -> why rows with it are refused, in every format that does not read it."""

TOOL_ROLES = frozenset({"tool", "tool_call", "tool_response", "function", "function_call", "observation"})
"""Roles of turns that call a tool or hold its result."""

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


def refuse_unread(
    item: Mapping[str, Any],
    read: Collection[str],
    where: str,
    *,
    system: bool = False,
    offenders: Offenders | None = None,
) -> None:
    """Check that a row has no medium and no system message in a field that its format does not read.

    Further fields of a modality that is read, such as an ``image_url`` beside ``image``, count as metadata.

    Args:
        item: the row.
        read: fields that the format reads.
        where: the row's place, for errors.
        system: whether the format reads the field ``system``.
        offenders: gets a note for each other field that is not read.

    Raises:
        DataError: with the field, and how the row would be read.

    Example:
        >>> refuse_unread({"image": "1.png", "text": "a", "audio": "1.wav"}, ("image", "text"), "a.jsonl, line 1")
        Traceback (most recent call last):
        inlay.recipes.data.rows.sample.DataError: a.jsonl, line 1, audio: '1.wav' would not be read; this format reads \
image. Remove the field, or write the row as {"messages": [...], "audios": [...]}
    """
    refuse_fields(item, where, read)
    unread = {name: value for name, value in item.items() if name not in read and not _empty(value)}
    if not unread:
        return
    seen = {_kind(name) for name in read if not _empty(item.get(name))}
    for name, value in unread.items():
        modality = _kind(name)
        plain = modality is not None and name in FIELDS[modality]
        if modality is not None and (plain or modality not in seen) and not isinstance(value, (bool, int, float)):
            known = [field for field in read if _kind(field)]
            raise DataError(
                f"{where}, {name}: {shown(value)} would not be read; this format reads {', '.join(known or read)}. "
                f'Remove the field, or write the row as {{"messages": [...], "{FIELDS[modality][1]}": [...]}}'
            )
        if name == "system" and not system:
            raise DataError(
                f"{where}, system: {shown(value)} would not be read by this format; write it with "
                "--stages.STAGE.system, or write the row as messages with a system message in front"
            )
        if offenders is not None and name != "id" and name not in REFUSED:
            near = get_close_matches(name, [field for field in read if field not in item], n=1, cutoff=0.8)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            offenders.note(f"have a field {name!r} that is not read{meant}", where)


def refuse_fields(item: Mapping[str, Any], where: str, read: Collection[str] = ()) -> None:
    """Check that a row or a turn has no field of :data:`REFUSED`, unless the format reads it.

    Raises:
        DataError: with the field and the reason.
    """
    if REFUSED.keys().isdisjoint(item):
        return
    for name in REFUSED.keys() & item.keys():
        if name not in read and not _empty(item[name]) and item[name] != "[]":
            raise DataError(f"{where}, {name}: {REFUSED[name]}; remove the field, or leave the row out")


def _empty(value: object) -> bool:
    """Whether a field has no value; a table gives null to rows without it."""
    return value is None or (isinstance(value, (str, list, dict, tuple)) and not value)


@lru_cache(1024)
def _kind(name: str) -> Modality | None:
    """The modality that the name of a field suggests."""
    return next((modality for modality, pattern in _NAMED.items() if pattern.fullmatch(name)), None)


def refuse_in_turn(turn: Mapping[str, Any], read: Collection[str], where: str) -> None:
    """Check that a turn has no medium, no call of a tool and no weight in a field that is not read.

    Raises:
        DataError: with the field.
    """
    if len(turn) <= len(read) and all(name in read for name in turn):
        return
    refuse_fields(turn, where, read)
    for name, value in turn.items():
        if name in read or value is None:
            continue
        if _kind(name) is not None and not _empty(value):
            raise DataError(
                f"{where}, {name}: {shown(value)} would not be read; name the media of a row in its own fields image, "
                "images, audios or videos"
            )
        if name in ("loss", "weight", "train") and value is not True and value != 1:
            raise DataError(f"{where}, {name}: every answer is trained; got {shown(value)}: leave the row out")
