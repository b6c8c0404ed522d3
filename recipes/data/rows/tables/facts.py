"""Facts about the rows of a table that were found while all of them were checked, as arrays with one value a row.

They answer most questions about a large data set without reading its rows again: which rows are valid, how long they
are, which media they have.
"""

from __future__ import annotations

import os
import shutil
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from struct import error as StructError
from tempfile import SpooledTemporaryFile
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from inlay.adapters.conversation.messages import MadePart, Message, TextPart
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.rows.sample import DataError, Sample, conversations_of
from inlay.recipes.data.rows.tables.base import Index

__all__ = [
    "DESIRABLE",
    "MODALITIES",
    "PAIR",
    "UNDESIRABLE",
    "Facts",
    "FileNames",
    "Notes",
    "Recorder",
    "kind_of",
    "parts_of",
]

MODALITIES: tuple[Modality, ...] = get_args(Modality)
PAIR, DESIRABLE, UNDESIRABLE = 1, 2, 3
"""Kinds of preference data; other samples are of kind 0."""
_TYPES = {
    **dict.fromkeys(("row", "repeat", "characters", "bytes"), "I"),
    **dict.fromkeys(("piece", "messages", "parts"), "H"),
    **dict.fromkeys(("unusual", "preference"), "B"),
}
_COUNTS = {f"{side}_{modality}": "H" for side in ("input", "made") for modality in MODALITIES}
_ROW = Struct("<" + "".join((_TYPES | _COUNTS).values()))
_DTYPE = np.dtype([(name, "<u" + {"I": "4", "H": "2", "B": "1"}[code]) for name, code in (_TYPES | _COUNTS).items()])
_NO_MEDIA = (0,) * len(_COUNTS)

_IN_MEMORY = 1 << 20
_RECENT = 10_000

Notes = dict[str, tuple[int, str]]
"""``row(s) ...`` -> their number, and the place of the first one; as :attr:`Offenders.notes`."""


@dataclass(frozen=True)
class Facts:
    """One value for each sample of a valid row, and the rows that are not valid."""

    columns: Index
    """``row``: its number in the table; ``piece``: 0, 1, ... for the samples of one row; ``repeat``: 2, 3, ... for a
    repeated id; ``characters`` and ``bytes`` of its texts; ``messages``; ``parts``: number of its answered questions,
    as split by ``turns: apart``; ``unusual``: whether it has a system message, an empty answer or a generated medium;
    ``preference``: :func:`kind_of`; ``input_image``, ``made_audio``, ...: its media. Of preference data with several
    conversations, each is the largest number of a conversation."""
    offenders: list[tuple[str, str]] = field(default_factory=list)
    """Place and reason of each row that is not valid, in their order."""
    notes: Notes = field(default_factory=dict)
    folders: Mapping[str, list[int]] = field(default_factory=dict)
    """Folder of media -> values that change when a file in it is added, renamed or removed."""
    media: FileNames | None = None
    """The media and embeddings that the rows name; None in another process."""

    def __len__(self) -> int:
        return len(self.columns["row"])

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"media": None}


class FileNames:
    """Names of files on disk, one a line, without near repetitions.

    Args:
        path: a file of names; a temporary one if not given.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.file: Any = SpooledTemporaryFile(_IN_MEMORY) if path is None else path.open("rb")  # noqa: SIM115
        self._recent: dict[str, None] = {}

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()

    def __iter__(self) -> Iterator[Path]:
        self._write()
        self.file.seek(0)
        for line in self.file:
            yield Path(line[:-1].decode("utf-8", "surrogateescape").replace("\0", "\n"))

    def add(self, name: str) -> None:
        """Append a name, unless it is among the last ones."""
        self._recent[name] = None
        if len(self._recent) >= _RECENT:
            self._write()

    def _write(self) -> None:
        """Append the last names to the file, and forget them."""
        if not self._recent:
            return
        lines = [name.replace("\n", "\0") + "\n" for name in self._recent]
        self.file.seek(0, os.SEEK_END)
        self.file.write("".join(lines).encode("utf-8", "surrogateescape"))
        self._recent.clear()

    def copy_to(self, path: Path) -> None:
        """Write the names to a file."""
        self._write()
        self.file.seek(0)
        with path.open("wb") as target:
            shutil.copyfileobj(self.file, target)


class Recorder:
    """Collects the facts of samples one by one."""

    def __init__(self) -> None:
        self.rows = array("I")
        """The number of each sample's row in the table."""
        self.media = FileNames()
        self._data = bytearray()

    def add(self, row: int, sample: Sample, piece: int = 0) -> None:
        """Record the next valid sample.

        Args:
            row: its number in the table.
            sample: the sample.
            piece: its number among the samples of the row.

        Raises:
            DataError: too many turns or media to be counted.
        """
        media: dict[str, int] = {}
        own = self._sizes(sample.messages, media)
        if sample.rejected or sample.similar:
            for messages in conversations_of(sample)[1:]:
                others: dict[str, int] = {}
                own = [max(pair) for pair in zip(own, self._sizes(messages, others), strict=True)]
                media |= {name: max(count, media.get(name, 0)) for name, count in others.items()}
        characters, size, turns, unusual = own
        kind = kind_of(sample)
        parts = parts_of(sample) if unusual or kind else turns // 2
        counts = [media.get(name, 0) for name in _COUNTS] if media else _NO_MEDIA
        try:
            self._data += _ROW.pack(row, 0, characters, size, piece, turns, parts, unusual, kind, *counts)
        except StructError:
            raise DataError(f"{sample.origin}: expected at most 65,535 turns and media of a kind, got more") from None
        self.rows.append(row)

    def _sizes(self, messages: Sequence[Message], media: dict[str, int]) -> list[int]:
        """Characters, bytes, messages, and whether the conversation is unusual; its media are added to `media`."""
        unusual = 0
        texts: list[str] = []
        for message in messages:
            content = message.content
            if len(content) == 1 and type(content[0]) is TextPart:
                words = content[0].text
            else:
                own = [part.text for part in content if isinstance(part, TextPart)]
                words = own[0] if len(own) == 1 else message.text
                unusual |= self._media(content, media)
            texts.append(words)
            role = message.role
            if role == "assistant":
                if not words or words.isspace():
                    unusual = 1
            elif role == "system":
                unusual = 1
        whole = "".join(texts)
        return [len(whole), len(whole) if whole.isascii() else len(whole.encode()), len(messages), unusual]

    def _media(self, content: Sequence[Any], counts: dict[str, int]) -> bool:
        """Count the media of a turn; returns whether it generates one."""
        makes = False
        for part in content:
            if not isinstance(part, TextPart):
                made = isinstance(part, MadePart)
                name = f"{'made' if made else 'input'}_{part.modality}"
                counts[name] = counts.get(name, 0) + 1
                makes = makes or made
                for source in (part.source, part.embedding if isinstance(part, MadePart) else None):
                    if isinstance(source, (str, Path)):
                        self.media.add(str(source))
        return makes

    def facts(
        self, keep: NDArray[np.bool_] | None = None, repeats: NDArray[np.int64] | None = None, **others: Any
    ) -> Facts:
        """The collected facts.

        Args:
            keep: which of the samples are valid; all if not given.
            repeats: the column ``repeat``, a value for each sample; 0 if not given.
            others: the other fields of :class:`Facts`.
        """
        held: NDArray[Any] = np.frombuffer(self._data, _DTYPE)
        columns: Index = {name: held[name] if keep is None else held[name][keep] for name in _DTYPE.names or ()}
        if repeats is not None:
            columns["repeat"] = repeats.astype(np.uint32)[... if keep is None else keep]
        return Facts(columns, media=self.media, **others)


def kind_of(sample: Sample) -> int:
    """:data:`PAIR`, :data:`DESIRABLE` or :data:`UNDESIRABLE`; 0 for a sample that is not preference data."""
    if sample.rejected:
        return PAIR
    return 0 if sample.desirable is None else DESIRABLE if sample.desirable else UNDESIRABLE


def parts_of(sample: Sample) -> int:
    """The number of answered questions of a sample; preference data are one question, the last."""
    if kind_of(sample):
        return 1
    turns = [message for message in sample.messages if message.role != "system"]
    if len(turns) == 2:
        return 1
    return sum(
        message.role == "assistant" and bool(message.text.strip() or _makes(message.content)) for message in turns
    )


def _makes(content: Sequence[Any]) -> bool:
    return any(isinstance(part, MadePart) for part in content)
