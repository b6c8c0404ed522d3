"""NExT-GPT's comprehension and generation data, and dialogues with both (https://arxiv.org/abs/2309.05519, v1.5).

One JSON list. An item names what is shown under ``input_image`` | ``input_audio`` | ``input_video`` and what is made
under ``output_image`` | ..., each a file or a list of files, beside ``image_captions`` and
``image_caption_embeddings`` (and so on) of what is made. Its turns hold the markers ``<image>``, ``<audio>`` and
``<video>``: in what the human says a marker takes the next file that is shown, in an answer the next one that is made.

``types``, ``answers`` and ``description`` may stand beside them, as in :mod:`~inlay.recipes.data.formats.llava`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, Role, TextPart
from inlay.adapters.media.modality import Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import annotated, identity, image_list, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import objects, records
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns

__all__ = ["READ", "ROLES", "Folders", "Made", "made_of_item", "read_nextgpt", "turns_of"]

ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant"}

READ = (
    "id",
    "conversation",
    "conversations",
    *(f"{way}_{kind}" for way in ("input", "output") for kind in get_args(Modality)),
    *(f"{kind}_{what}" for kind in get_args(Modality) for what in ("captions", "caption_embeddings")),
)
"""Fields that are read of an item."""

_MARKER = re.compile("<(image|audio|video)>")


@dataclass(frozen=True)
class Folders:
    """Where files lie."""

    media: Path | None = None
    """Media, absolute; None where none is shown."""
    embeddings: Path | None = None
    """Caption embeddings, absolute; None to compute them from the captions."""

    @classmethod
    def of(cls, media: str | Path | None, embeddings: str | Path | None) -> Folders:
        """From what a reader is given."""
        return cls(*(None if folder is None else Path(folder).absolute() for folder in (media, embeddings)))


class Made:
    """What an item's answers make of one modality, in its order.

    Args:
        modality: which.
        item: with captions, embeddings and files, each missing, one or a list.
        folders: where files lie.
        where: for errors.

    Raises:
        DataError: lists of different lengths.
    """

    def __init__(self, modality: Modality, item: Mapping[str, Any], folders: Folders, where: str) -> None:
        self.modality, self.where = modality, where
        named = {"files": f"output_{modality}", "captions": f"{modality}_captions"}
        named["embeddings"] = f"{modality}_caption_embeddings"
        self.held = {key: image_list(item.get(field), f"{where}, {field}") for key, field in named.items()}
        counts = {named[key]: len(values) for key, values in self.held.items() if values}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{field} {count}" for field, count in counts.items())
            raise DataError(f"{where}: expected as many of each, got {found}")
        self.count = max(counts.values(), default=0)
        self.folders, self.used = folders, 0

    def take(self) -> MadePart:
        """The next one.

        Raises:
            DataError: there is none left, or nothing tells what it is.
        """
        index, self.used = self.used, self.used + 1
        if index >= self.count:
            raise DataError(
                f"{self.where}: <{self.modality}> stands in the answers more often than {self.modality}_captions or "
                f"output_{self.modality} name one ({self.count})"
            )
        files, captions, embeddings = (self.held[key] for key in ("files", "captions", "embeddings"))
        file = None
        if files and self.folders.media is not None:
            file = image_path(files[index], self.folders.media, f"{self.where}, output_{self.modality}")
        caption = captions[index].strip() if captions else ""
        if not caption and file is None:
            raise DataError(f"{self.where}, {self.modality}_captions: what is made needs a caption or a file")
        return MadePart(self.modality, caption, file, self._embedding(embeddings[index] if embeddings else None))

    def _embedding(self, name: str | None) -> Path | None:
        if name is None or self.folders.embeddings is None:
            return None
        return image_path(name, self.folders.embeddings, f"{self.where}, {self.modality}_caption_embeddings")


def made_of_item(item: Mapping[str, Any], folders: Folders, where: str) -> dict[str, Made]:
    """What the answers of an item make, by modality."""
    return {modality: Made(modality, item, folders, where) for modality in get_args(Modality)}


def read_nextgpt(
    path: str | Path,
    media: str | Path | None,
    *,
    embeddings: str | Path | None = None,
    offenders: Offenders | None = None,
) -> list[Sample]:
    """Read the file.

    Args:
        path: the JSON file.
        media: the folder of the media; None where none is shown. Files of what is made are named, and not looked for:
            only the latent diffusion loss reads them.
        embeddings: the folder of caption embeddings (``.npy``); None to compute them from the captions.
        offenders: takes the rows that cannot be used; the first one is an error if not given.

    Returns:
        The samples in the order of the file.

    Raises:
        DataError: names the file, the item (from 0) and the field: more or fewer markers than media, no caption of what
            is made, turns out of order.
    """
    path, folders = Path(path), Folders.of(media, embeddings)
    samples: dict[str, Sample] = {}
    offenders = offenders or Offenders()
    for where, item in records(path, offenders):
        with offenders.row(where):
            refuse_unread(item, READ, where)
            name = identity(item, where, where.rpartition(", ")[2].replace(" ", "-"))
            if name in samples:
                raise DataError(f"{where}, id: {shown(name)} is also the id of {samples[name].origin}")
            samples[name] = annotated(item, name, _messages(item, folders, where), where)
    return list(samples.values())


def turns_of(item: Mapping[str, Any], where: str) -> list[tuple[Role, str, Mapping[str, Any]]]:
    """Role, text and the turn itself, of every turn under ``conversations`` or ``conversation``.

    Raises:
        DataError: no such list, an unknown speaker, a value that is no text.
    """
    key = "conversations" if "conversations" in item else "conversation"
    raw = item.get(key)
    if not isinstance(raw, list) or not raw:
        raise DataError(f"{where}, {key}: expected a list of turns, got {shown(raw)}")
    turns: list[tuple[Role, str, Mapping[str, Any]]] = []
    for number, turn in enumerate(objects(raw, f"{where}, {key}")):
        speaker = turn.get("from")
        role = ROLES.get(speaker) if isinstance(speaker, str) else None
        if role is None:
            raise DataError(f"{where}, turn {number}, from: expected {' or '.join(ROLES)}, got {shown(speaker)}")
        turns.append((role, text(turn.get("value"), f"{where}, turn {number}, value"), turn))
    return turns


def _messages(item: Mapping[str, Any], folders: Folders, where: str) -> tuple[Message, ...]:
    waiting = {kind: image_list(item.get(f"input_{kind}"), f"{where}, input_{kind}") for kind in get_args(Modality)}
    given = {kind: iter(names) for kind, names in waiting.items()}
    made = made_of_item(item, folders, where)
    messages = []
    for number, (role, value, _) in enumerate(turns_of(item, where)):
        content: list[Part] = []
        for kind, words in _pieces(value):
            if kind is None:
                content.append(TextPart(f" {words}" if any(isinstance(part, TextPart) for part in content) else words))
            elif role == "assistant":
                content.append(made[kind].take())
            else:
                name = next(given[kind], None)
                if name is None:
                    raise DataError(f"{where}, turn {number}: <{kind}> without a file left in input_{kind}")
                content.append(MediaPart(kind, image_path(name, folders.media, f"{where}, input_{kind}")))
        messages.append(Message(role, tuple(content)))
    left = [f"input_{kind}" for kind, names in given.items() if next(names, None) is not None]
    left += [f"{kind}_captions" for kind, holder in made.items() if holder.used < holder.count]
    if left:
        raise DataError(f"{where}, {left[0]}: more of them than markers in the turns; write a marker for each")
    check_turns(messages, where)
    return tuple(messages)


def _pieces(value: str) -> list[tuple[Modality | None, str]]:
    """Words and markers of a turn; the white space around a marker belongs to the template."""
    pieces: list[tuple[Modality | None, str]] = []
    for index, piece in enumerate(_MARKER.split(value)):
        if index % 2:
            kind: Any = piece
            pieces.append((kind, ""))
        elif piece.strip():
            pieces.append((None, piece.strip()))
    return pieces
