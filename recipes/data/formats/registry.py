"""The registry of file formats: each recognises its files by the first record, and reads them.

Your own formats are tried before those of the package. See ``docs/extending.md``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from inlay.adapters.parts.registration import RegistrationError, register
from inlay.recipes.data.formats.coco_captions import read_coco_captions
from inlay.recipes.data.formats.jsonl import read_messages_jsonl
from inlay.recipes.data.formats.llava import read_llava
from inlay.recipes.data.formats.minigpt4 import read_filter_cap
from inlay.recipes.data.formats.modaverse import read_modaverse
from inlay.recipes.data.formats.nextgpt.instructions import read_nextgpt
from inlay.recipes.data.formats.nextgpt.mosit import read_mosit
from inlay.recipes.data.formats.nextgpt.pairs import NAME_FIELDS, read_nextgpt_pairs
from inlay.recipes.data.formats.nextgpt.turns import read_nextgpt_turns
from inlay.recipes.data.formats.pairs import TEXT_FIELDS, read_pairs
from inlay.recipes.data.formats.pope import read_pope
from inlay.recipes.data.formats.triples import read_triples
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.open_table import json_lines

__all__ = ["FORMATS", "Format", "Shape", "register_format"]

Fields: TypeAlias = Mapping[str, Any]
Shape: TypeAlias = Literal["records", "object", "other"]
"""A JSON list or JSON lines; one JSON object; a file without a JSON suffix."""

_KEYS_OF_LINES = ("messages", "conversations", "conversation", "text_input", "text", "caption", "meta_response")
"""Every line of a known format has one of these keys; the reader of messages reports other lines."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One file format; see :func:`register_format`."""

    read: Callable[..., Sequence[Sample]]
    recognise: Callable[[Fields, Path], bool]
    shapes: tuple[Shape, ...] = ("records", "object", "other")
    """The shapes of files for which ``recognise`` is called."""

    def samples(self, path: Path, images: Path | None, offenders: Offenders, **options: Any) -> Sequence[Sample]:
        """Read a file; options that the reader has no parameter for are ignored."""
        known = inspect.signature(self.read).parameters
        options = {name: value for name, value in options.items() if name in known}
        return self.read(path, images, offenders=offenders, **options)


def _messages(first: Fields, path: Path) -> bool:
    return "messages" in first or (not any(key in first for key in _KEYS_OF_LINES) and json_lines(path))


def _nextgpt_turns(first: Fields, _: Path) -> bool:
    turns = first.get("conversations", first.get("conversation"))
    turns = turns if isinstance(turns, list) else []
    return any(isinstance(turn, dict) and {"input_modality", "output_modality"} & set(turn) for turn in turns)


def _vqa(document: Fields, _: Path) -> bool:
    notes = document.get("annotations")
    note = notes[0] if isinstance(notes, list) and notes else {}
    return "questions" in document or (isinstance(note, dict) and "answers" in note)


def _refuse_vqa(path: Path, *_: object, **__: object) -> list[Sample]:
    raise DataError(
        f"{path}: VQA v2 consists of two files, and both are needed: --data.train QUESTIONS with "
        "--data.annotations ANNOTATIONS, --data.test QUESTIONS with --data.test_annotations ANNOTATIONS "
        "(in Python, inlay.recipes.data.read_vqa)"
    )


def _lists(read: Callable[..., Sequence[Sample]], recognise: Callable[[Fields, Path], bool]) -> Format:
    return Format(read=read, recognise=recognise, shapes=("records",))


def _objects(read: Callable[..., Sequence[Sample]], recognise: Callable[[Fields, Path], bool]) -> Format:
    return Format(read=read, recognise=recognise, shapes=("object",))


FORMATS: dict[str, Format] = {
    "messages": _lists(read_messages_jsonl, _messages),
    "triples": _lists(read_triples, lambda first, _: "text_input" in first and "conversations" not in first),
    "pope": _lists(read_pope, lambda first, _: "label" in first and "text" in first),
    "pairs": _lists(
        read_pairs,
        lambda first, _: (
            "conversations" not in first and "image" in first and any(map(first.__contains__, TEXT_FIELDS))
        ),
    ),
    "modaverse": _lists(read_modaverse, lambda first, _: "meta_response" in first),
    "nextgpt_pairs": _lists(
        read_nextgpt_pairs, lambda first, _: "caption" in first and any(map(first.__contains__, NAME_FIELDS))
    ),
    "mosit": _lists(
        read_mosit, lambda first, _: "conversation" in first and any(key.endswith("_list") for key in first)
    ),
    "nextgpt_turns": _lists(read_nextgpt_turns, _nextgpt_turns),
    "nextgpt": _lists(
        read_nextgpt,
        lambda first, _: any(key.startswith(("input_", "output_")) or key.endswith("_captions") for key in first),
    ),
    "vqa": _objects(_refuse_vqa, _vqa),
    "coco_captions": _objects(read_coco_captions, lambda document, _: "images" in document),
    "filter_cap": _objects(read_filter_cap, lambda document, _: "annotations" in document),
    # The last one: its reader reports files of unknown format.
    "llava": Format(read=read_llava, recognise=lambda *_: True, shapes=("records", "object")),
}
"""Name -> format, in the order in which they are tried."""


def register_format(
    name: str, read: Callable[..., Sequence[Sample]], *, recognise: Callable[[Fields, Path], bool]
) -> None:
    """Register a file format, which is tried before all others.

    Args:
        name: letters, digits, ``_``, ``-`` and ``.``.
        read: ``read(path, images, *, offenders)`` -> samples; ``images`` is the folder of the media or None. For an
            invalid row, raise a :class:`DataError` inside ``with offenders.row(where):``, so that ``--data.invalid``
            applies. ``per`` and ``embeddings`` of :func:`~inlay.recipes.data.formats.read.read_samples` are passed if
            the function has parameters of these names (with defaults). The media are checked later.
        recognise: ``recognise(first, path)`` -> whether the file is of this format. ``first`` is the first record of a
            JSON list or of JSON lines, or the one JSON object of a file; empty for all other files.

    Raises:
        RegistrationError: functions that do not take these arguments, or the name of another format. Registering the
            same function again, as from a module that is imported twice, replaces it.
    """
    for what, function, arguments, options in (
        ("read(path, images, *, offenders)", read, (Path(), None), {"offenders": Offenders()}),
        ("recognise(first, path)", recognise, ({}, Path()), {}),
    ):
        try:
            inspect.signature(function).bind(*arguments, **options)
        except (TypeError, ValueError) as error:
            raise RegistrationError(f"format {name!r}: expected a function {what}, got {function!r}: {error}") from None
    register(FORMATS, name, Format(read=read, recognise=recognise), "format", by="read")
    others = {held: entry for held, entry in FORMATS.items() if held != name}
    own = {name: FORMATS[name]}
    FORMATS.clear()
    FORMATS.update(own | others)
