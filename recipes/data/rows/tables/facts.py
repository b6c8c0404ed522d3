"""Facts about the rows of a table that were found while all of them were checked, as arrays with one value a row.

They answer most questions about a large data set without reading its rows again: which rows are valid, how long they
are, which media they have.
"""

from __future__ import annotations

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

from inlay.adapters.conversation.messages import MadePart, TextPart
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.base import Index

__all__ = ["MODALITIES", "Facts", "FileNames", "Notes", "Recorder", "parts_of"]

MODALITIES: tuple[Modality, ...] = get_args(Modality)
_TYPES = {"row": "I", "repeat": "I", "characters": "I", "bytes": "I", "messages": "H", "parts": "H", "unusual": "B"}
_COUNTS = {f"{side}_{modality}": "H" for side in ("input", "made") for modality in MODALITIES}
_ROW = Struct("<" + "".join((_TYPES | _COUNTS).values()))
_DTYPE = np.dtype([(name, "<u" + {"I": "4", "H": "2", "B": "1"}[code]) for name, code in (_TYPES | _COUNTS).items()])
_NO_MEDIA = (0,) * len(_COUNTS)

_IN_MEMORY = 1 << 20
_RECENT = 10_000

Notes = dict[str, tuple[int, str]]
"""Note -> number of rows, and the place of the first one; as :attr:`Offenders.notes`."""


@dataclass(frozen=True)
class Facts:
    """One value for each valid row, and the rows that are not valid."""

    columns: Index
    """``row``: its number in the table; ``repeat``: 2, 3, ... for a repeated id; ``characters`` and ``bytes`` of its
    texts; ``messages``; ``parts``: number of its answered questions, as split by ``turns: apart``; ``unusual``: whether
    it has a system message, an empty answer or a generated medium; ``input_image``, ``made_audio``, ...: its media."""
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
        self.file.seek(0)
        for line in self.file:
            yield Path(line[:-1].decode("utf-8", "surrogateescape").replace("\0", "\n"))

    def add(self, name: str) -> None:
        """Append a name, unless it is among the last ones."""
        if name not in self._recent:
            self.file.write(name.replace("\n", "\0").encode("utf-8", "surrogateescape") + b"\n")
            self._recent[name] = None
            if len(self._recent) > _RECENT:
                self._recent.clear()

    def copy_to(self, path: Path) -> None:
        """Write the names to a file."""
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

    def add(self, row: int, sample: Sample) -> None:
        """Record the next valid sample.

        Args:
            row: its number in the table.
            sample: the sample.

        Raises:
            DataError: too many turns or media to be counted.
        """
        characters = size = unusual = 0
        media: dict[str, int] = {}
        for message in sample.messages:
            content = message.content
            if len(content) == 1 and type(content[0]) is TextPart:
                words = content[0].text
            else:
                texts = [part.text for part in content if isinstance(part, TextPart)]
                words = texts[0] if len(texts) == 1 else message.text
                unusual |= self._media(content, media)
            characters += len(words)
            size += len(words) if words.isascii() else len(words.encode())
            if message.role == "system" or (message.role == "assistant" and not (words and not words.isspace())):
                unusual = 1
        messages = len(sample.messages)
        parts = parts_of(sample) if unusual else messages // 2
        counts = [media.get(name, 0) for name in _COUNTS] if media else _NO_MEDIA
        try:
            self._data += _ROW.pack(row, 0, characters, size, messages, parts, unusual, *counts)
        except StructError:
            raise DataError(f"{sample.origin}: expected at most 65,535 turns and media of a kind, got more") from None
        self.rows.append(row)

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


def parts_of(sample: Sample) -> int:
    """The number of answered questions of a sample."""
    turns = [message for message in sample.messages if message.role != "system"]
    if len(turns) == 2:
        return 1
    return sum(
        message.role == "assistant" and bool(message.text.strip() or _makes(message.content)) for message in turns
    )


def _makes(content: Sequence[Any]) -> bool:
    return any(isinstance(part, MadePart) for part in content)
