"""NExT-GPT's instructions with modalities on each turn: T2M, processed MosIT, and the released stage 3.

Wu et al., 2023, https://arxiv.org/abs/2309.05519. One JSON list; a turn names the modality of its input medium under
``input_modality``, and that of its generated medium under ``output_modality`` beside ``caption``::

    {"audio_captions": ["rain"], "audio_caption_embeddings": ["7.npy"], "conversations": [
        {"from": "human", "value": "play me rain", "input_modality": "text"},
        {"from": "gpt", "value": "Here it is.", "caption": "rain", "output_modality": "audio"}]}

A turn without a caption takes the next one of the item's list. Input files are listed under ``input_image`` or
``image_name`` (and so on), one or a list, and are taken in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, TextPart
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.nextgpt.instructions import READ, Folders, Made, made_of_item, turns_of
from inlay.recipes.data.rows.fields import annotated, identity, image_list, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import read_each
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns

__all__ = ["read_nextgpt_turns"]

_READ = (*READ, *(f"{kind}_name" for kind in GENERATED))
_FIELDS = {"user": "input_modality", "assistant": "output_modality"}


def read_nextgpt_turns(
    path: str | Path,
    media: str | Path | None,
    *,
    embeddings: str | Path | None = None,
    offenders: Offenders | None = None,
) -> list[Sample]:
    """Read the file.

    Args:
        path: the JSON file.
        media: the folder of the input media; None if there are none.
        embeddings: the folder of caption embeddings (``.npy``); None to compute them from the captions.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        The samples in the order of the file; a generated medium comes after the text of its turn.

    Raises:
        DataError: with the file, the item (from 0), the turn and the field: an unknown modality, no input file left, no
            caption, turns out of order.
    """
    folders = Folders.of(media, embeddings)

    def sample(item: Mapping[str, Any], where: str) -> Sample:
        refuse_unread(item, _READ, where)
        messages = _messages(item, folders, where)
        check_turns(messages, where)
        return annotated(item, identity(item, where), messages, where)

    return read_each(Path(path), sample, offenders)


def _messages(item: Mapping[str, Any], folders: Folders, where: str) -> tuple[Message, ...]:
    files = {kind: iter(_files(item, kind, where)) for kind in GENERATED}
    made = made_of_item(item, folders, where)
    messages = []
    for number, (role, value, turn) in enumerate(turns_of(item, where)):
        place = f"{where}, turn {number}"
        content: list[Part] = []
        kinds = _modalities(turn.get(_FIELDS[role]), f"{place}, {_FIELDS[role]}")
        if role == "user":
            content += [_shown(kind, files[kind], folders, place) for kind in kinds]
        if value.strip():
            content.append(TextPart(value.strip()))
        if role == "assistant":
            # Text-only turns may have an empty caption.
            captions = image_list(turn.get("caption"), f"{place}, caption") if kinds else []
            if captions and len(captions) != len(kinds):
                raise DataError(
                    f"{place}, caption: expected one for each of {len(kinds)} media, got {len(captions)}; "
                    "name the modality of each in output_modality"
                )
            content += [_made(made[kind], captions[n : n + 1], place) for n, kind in enumerate(kinds)]
        messages.append(Message(role, tuple(content)))
    return tuple(messages)


def _files(item: Mapping[str, Any], kind: str, where: str) -> list[str]:
    fields = [field for field in (f"input_{kind}", f"{kind}_name") if field in item]
    return image_list(item[fields[0]], f"{where}, {fields[0]}") if fields else []


def _modalities(value: object, where: str) -> list[Modality]:
    """The modalities of a field: None, a name, or a list of names; ``text`` is left out."""
    names = value if isinstance(value, list) else [] if value is None else [value]
    found: list[Modality] = []
    for name in names:
        kind: Any = name.strip().lower() if isinstance(name, str) else name
        if kind not in (*GENERATED, "text"):
            raise DataError(f"{where}: expected text, {', '.join(GENERATED)}, got {shown(name)}")
        if kind != "text":
            found.append(kind)
    return found


def _shown(kind: Modality, files: Iterator[str], folders: Folders, where: str) -> MediaPart:
    name = next(files, None)
    if name is None:
        raise DataError(f"{where}, input_modality: no file left under input_{kind} or {kind}_name")
    return MediaPart(kind, image_path(name, folders.media, f"{where}, input_{kind}"))


def _made(holder: Made, caption: list[str], where: str) -> MadePart:
    """A medium with the turn's own caption, and with embedding and file from the item's lists if they have them."""
    if not caption:
        return holder.take()
    said = text(caption[0], f"{where}, caption").strip()
    if not said:
        raise DataError(f"{where}, caption: expected some text, got nothing but white space")
    held = holder.take() if holder.used < holder.count else MadePart(holder.modality)
    return replace(held, caption=said)
