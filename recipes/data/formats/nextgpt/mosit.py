"""MosIT, NExT-GPT's modality-switching dialogues, in their original form (https://arxiv.org/abs/2309.05519).

One JSON list; an item is ``{"image_list": [{"image_name", "data_source", "caption"}], "audio_list", "video_list",
"conversation": [{"from", "value"}]}``. A medium is written in a turn as ``<Image>its caption</Image>``: an input medium
in a turn of the human, a generated one in an answer. The entry with the same caption names its file; ``<image>`` alone
takes the next entry of its list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, Role, TextPart
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.nextgpt.instructions import turns_of
from inlay.recipes.data.rows.fields import annotated, identity, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled, objects, read_each
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns

__all__ = ["read_mosit"]

_TAG = re.compile(r"<(image|audio|video)>(?:((?:(?!<(?:image|audio|video)>).)*?)</\1>)?", re.IGNORECASE | re.DOTALL)

_READ = ("id", "conversation", "conversations", *(f"{kind}_list" for kind in GENERATED))


class _Entries:
    """The media of one modality in an item, as captions and files."""

    def __init__(self, kind: Modality, item: Mapping[str, Any], where: str) -> None:
        self.kind, self.where = kind, f"{where}, {kind}_list"
        raw = item.get(f"{kind}_list") or []
        if not isinstance(raw, list):
            raise DataError(f"{self.where}: expected a list of media, got {shown(raw)}")
        self.entries: list[tuple[str, str]] = []
        for number, entry in enumerate(objects(raw, self.where)):
            caption = filled(entry, "caption", f"{self.where}[{number}]")
            self.entries.append((caption, text(entry.get(f"{kind}_name", ""), f"{self.where}[{number}], {kind}_name")))
        self.waiting = list(self.entries)

    def take(self, caption: str | None) -> tuple[str, str]:
        """Caption and file (empty if the list names none) of the next medium, or of the next one with this caption.

        Raises:
            DataError: a marker without a caption, and no entry left.
        """
        for index, (known, file) in enumerate(self.waiting):
            if caption is None or known == caption:
                del self.waiting[index]
                return known, file
        if caption is None:
            raise DataError(f"{self.where}: the turns have more markers <{self.kind}> than the list has entries")
        return caption, next((file for known, file in self.entries if known == caption), "")


def read_mosit(path: str | Path, media: str | Path | None, *, offenders: Offenders | None = None) -> list[Sample]:
    """Read the file.

    Args:
        path: the JSON file.
        media: the folder of the input media; None if there are none.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        The samples in the order of the file.

    Raises:
        DataError: with the file, the item (from 0) and the field: an input medium without a file, an empty caption,
            turns out of order.
    """
    root = None if media is None else Path(media).absolute()

    def sample(item: Mapping[str, Any], where: str) -> Sample:
        refuse_unread(item, _READ, where)
        entries: dict[str, _Entries] = {kind: _Entries(kind, item, where) for kind in GENERATED}
        messages = tuple(
            Message(role, tuple(_content(role, value, entries, root, f"{where}, turn {number}")))
            for number, (role, value, _) in enumerate(turns_of(item, where))
        )
        check_turns(messages, where)
        return annotated(item, identity(item, where), messages, where)

    return read_each(Path(path), sample, offenders)


def _content(role: Role, value: str, entries: Mapping[str, _Entries], root: Path | None, where: str) -> list[Part]:
    content: list[Part] = []
    cursor = 0
    for tag in _TAG.finditer(value):
        _say(content, value[cursor : tag.start()])
        cursor = tag.end()
        kind: Any = tag[1].lower()
        if tag[2] is not None and not tag[2].strip():
            raise DataError(f"{where}: expected a caption between <{tag[1]}> and </{tag[1]}>, got none")
        caption, file = entries[kind].take(None if tag[2] is None else tag[2].strip())
        source = image_path(file, root, f"{where}, {kind}_name") if file and (root or role == "user") else None
        if role == "assistant":
            content.append(MadePart(kind, caption, source))
        elif source is None:
            raise DataError(f"{where}: {kind}_list names no file for the input {shown(caption)}")
        else:
            content.append(MediaPart(kind, source))
    _say(content, value[cursor:])
    return content


def _say(content: list[Part], words: str) -> None:
    said = words.strip()
    if said:
        content.append(TextPart(f" {said}" if any(isinstance(part, TextPart) for part in content) else said))
