"""ModaVerse's instructions (Wang et al., 2024, https://arxiv.org/abs/2401.06395).

One JSON list; an item is ``{"instruction": text, "media": {"image" | "audio" | "video": file or "none"},
"meta_response": {"modality": ..., "prompt": ...}}``. The meta response becomes a canonical answer: text if the modality
is text, otherwise a generated medium with the prompt as its caption. The layout ``modaverse`` writes it back as a meta
response. ``modality`` may name several, joined by commas or as a list; they share the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, TextPart
from inlay.adapters.media.modality import GENERATED
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import annotated, identity, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled, read_each
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns

__all__ = ["read_modaverse"]

_NONE = "none"

_READ = ("id", "instruction", "media", "meta_response")


def read_modaverse(path: str | Path, media: str | Path | None, *, offenders: Offenders | None = None) -> list[Sample]:
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
    root = None if media is None else Path(media).absolute()

    def sample(item: Mapping[str, Any], where: str) -> Sample:
        refuse_unread(item, _READ, where)
        asked = (*_media(item, root, where), TextPart(filled(item, "instruction", where)))
        messages = (Message("user", asked), Message("assistant", _answer(item.get("meta_response"), where)))
        check_turns(messages, where)
        return annotated(item, identity(item, where), messages, where)

    return read_each(Path(path), sample, offenders)


def _media(item: Mapping[str, Any], root: Path | None, where: str) -> list[Part]:
    held = item.get("media", {})
    where = f"{where}, media"
    if not isinstance(held, Mapping) or set(held) - set(GENERATED):
        raise DataError(f"{where}: expected an object with {', '.join(GENERATED)}, got {shown(held)}")
    parts: list[Part] = []
    for kind in GENERATED:
        name = held.get(kind) or _NONE
        if name != _NONE:
            parts.append(MediaPart(kind, image_path(text(name, f"{where}, {kind}"), root, f"{where}, {kind}")))
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
