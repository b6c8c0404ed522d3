"""NExT-GPT's comprehension and generation data, and dialogues with both (https://arxiv.org/abs/2309.05519, v1.5).

One JSON list. An item has input media under ``input_image`` | ``input_audio`` | ``input_video`` and generated media
under ``output_image`` | ..., each a file or a list of files, with ``image_captions`` and ``image_caption_embeddings``
(and so on) of the generated media. Its turns have the markers ``<image>``, ``<audio>`` and ``<video>``: in a turn of
the human a marker takes the next input file, in an answer the next generated medium.

``types``, ``answers`` and ``description`` are optional, as in :mod:`~inlay.recipes.data.formats.llava`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, Role, TextPart
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import annotated, identity, image_list, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import objects, read_each
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns

__all__ = ["READ", "ROLES", "Folders", "Made", "made_of_item", "read_nextgpt", "turns_of"]

ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant"}

READ = (
    "id",
    "conversation",
    "conversations",
    *(f"{way}_{kind}" for way in ("input", "output") for kind in GENERATED),
    *(f"{kind}_{what}" for kind in GENERATED for what in ("captions", "caption_embeddings")),
)
"""The fields of an item that are read."""

_MARKER = re.compile("<(image|audio|video)>")


@dataclass(frozen=True)
class Folders:
    """The folders of a data file."""

    media: Path | None = None
    """Media, absolute; None if there are no input media."""
    embeddings: Path | None = None
    """Caption embeddings, absolute; None to compute them from the captions."""

    @classmethod
    def of(cls, media: str | Path | None, embeddings: str | Path | None) -> Folders:
        """From the arguments of a reader."""
        return cls(*(None if folder is None else Path(folder).absolute() for folder in (media, embeddings)))


class Made:
    """The generated media of one modality in an item, in their order.

    Args:
        modality: their modality.
        item: the item; captions, embeddings and files are each missing, one value or a list.
        folders: the folders of the files.
        where: the place of the item, for errors.

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
            raise DataError(f"{where}: expected lists of the same length, got {found}")
        self.count = max(counts.values(), default=0)
        self.folders, self.used = folders, 0

    def take(self) -> MadePart:
        """The next medium.

        Raises:
            DataError: no medium is left, or it has neither a caption nor a file.
        """
        index, self.used = self.used, self.used + 1
        if index >= self.count:
            raise DataError(
                f"{self.where}: the answers have more markers <{self.modality}> than {self.modality}_captions or "
                f"output_{self.modality} have entries ({self.count})"
            )
        files, captions, embeddings = (self.held[key] for key in ("files", "captions", "embeddings"))
        file = None
        if files and self.folders.media is not None:
            file = image_path(files[index], self.folders.media, f"{self.where}, output_{self.modality}")
        caption = captions[index].strip() if captions else ""
        if not caption and file is None:
            raise DataError(f"{self.where}, {self.modality}_captions: a generated medium needs a caption or a file")
        return MadePart(self.modality, caption, file, self._embedding(embeddings[index] if embeddings else None))

    def _embedding(self, name: str | None) -> Path | None:
        if name is None or self.folders.embeddings is None:
            return None
        return image_path(name, self.folders.embeddings, f"{self.where}, {self.modality}_caption_embeddings")


def made_of_item(item: Mapping[str, Any], folders: Folders, where: str) -> dict[str, Made]:
    """The generated media of an item, by modality."""
    return {modality: Made(modality, item, folders, where) for modality in GENERATED}


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
        media: the folder of the media; None if there are no input media. The files of generated media are not checked:
            only the latent diffusion loss reads them.
        embeddings: the folder of caption embeddings (``.npy``); None to compute them from the captions.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        The samples in the order of the file.

    Raises:
        DataError: with the file, the item (from 0) and the field: more or fewer markers than media, a generated medium
            without a caption, turns out of order.
    """
    folders = Folders.of(media, embeddings)

    def sample(item: Mapping[str, Any], where: str) -> Sample:
        refuse_unread(item, READ, where)
        return annotated(item, identity(item, where), _messages(item, folders, where), where)

    return read_each(Path(path), sample, offenders)


def turns_of(item: Mapping[str, Any], where: str) -> list[tuple[Role, str, Mapping[str, Any]]]:
    """Role, text and object of every turn under ``conversations`` or ``conversation``.

    Raises:
        DataError: no such list, an unknown speaker, a value that is not text.
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
    waiting = {kind: image_list(item.get(f"input_{kind}"), f"{where}, input_{kind}") for kind in GENERATED}
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
        raise DataError(f"{where}, {left[0]}: more entries than markers in the turns; write a marker for each")
    check_turns(messages, where)
    return tuple(messages)


def _pieces(value: str) -> list[tuple[Modality | None, str]]:
    """Texts and markers of a turn; the white space around a marker belongs to the template."""
    pieces: list[tuple[Modality | None, str]] = []
    for index, piece in enumerate(_MARKER.split(value)):
        if index % 2:
            kind: Any = piece
            pieces.append((kind, ""))
        elif piece.strip():
            pieces.append((None, piece.strip()))
    return pieces
