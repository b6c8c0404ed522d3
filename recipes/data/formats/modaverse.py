"""ModaVerse's instructions (Wang et al., 2024, https://arxiv.org/abs/2401.06395).

One JSON list; an item is ``{"instruction": text, "media": {"image" | "audio" | "video": file or "none"},
"meta_response": {"modality": ..., "prompt": ...}}``. The meta response becomes a canonical answer: text if the modality
is text, otherwise a generated medium with the prompt as its caption. The layout ``modaverse`` writes it back as a meta
response. ``modality`` may name several, joined by commas or as a list; they share the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, TextPart
from inlay.adapters.media.modality import GENERATED
from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.read_file import read_file
from inlay.recipes.data.rows.fields import ANNOTATIONS, annotated, identity
from inlay.recipes.data.rows.media_values import Root, medium
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns
from inlay.recipes.data.rows.unread_fields import refuse_unread

__all__ = ["read_modaverse", "sample"]

_NONE = "none"

_READ = ("id", "instruction", "media", "meta_response", *ANNOTATIONS)


def read_modaverse(path: str | Path, media: Root, *, offenders: Offenders | None = None) -> Sequence[Sample]:
    """Read the file.

    Args:
        path: the JSON file.
        media: the folder of the media; None if no item has media.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        The samples in the order of the file, one question and its answer each.

    Raises:
        DataError: with the file, the item (from 0) and the field: an unknown modality, an empty instruction or prompt.
    """
    return read_file(sample, path, media, offenders)


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row."""
    refuse_unread(row, _READ, where, offenders=offenders)
    asked = (*_media(row, root, where), TextPart(filled(row, "instruction", where)))
    messages = (Message("user", asked), Message("assistant", _answer(row.get("meta_response"), where)))
    check_turns(messages, where)
    return annotated(row, identity(row, where), messages, where)


def _media(item: Mapping[str, Any], root: Root, where: str) -> list[Part]:
    held = item.get("media", {})
    where = f"{where}, media"
    if not isinstance(held, Mapping) or set(held) - set(GENERATED):
        raise DataError(f"{where}: expected an object with {', '.join(GENERATED)}, got {shown(held)}")
    parts: list[Part] = []
    for kind in GENERATED:
        name = held.get(kind) or _NONE
        if name != _NONE:
            parts.append(MediaPart(kind, medium(name, kind, root, f"{where}, {kind}")))
    return parts


def _answer(response: object, where: str) -> tuple[Part, ...]:
    where = f"{where}, meta_response"
    if not isinstance(response, Mapping):
        raise DataError(f'{where}: expected {{"modality": ..., "prompt": ...}}, got {shown(response)}')
    prompt = filled(response, "prompt", where)
    raw = response.get("modality")
    names = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(names, list) or not names:
        raise DataError(f"{where}, modality: expected text, {', '.join(GENERATED)}, got {shown(raw)}")
    parts: list[Part] = []
    for name in names:
        kind: Any = name.strip().strip("[]").lower() if isinstance(name, str) else name
        if kind == "text":
            parts.append(TextPart(prompt))
        elif kind in GENERATED:
            parts.append(MadePart(kind, prompt))
        else:
            raise DataError(f"{where}, modality: expected text, {', '.join(GENERATED)}, got {shown(name)}")
    return tuple(parts)
