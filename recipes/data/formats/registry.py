"""The registry of file formats: each recognises its files by their first rows, and reads them.

Your own formats are tried before those of the package. See the page "Your own file format" of the documentation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from inlay.adapters.parts.registration import RegistrationError, register
from inlay.recipes.data.formats import jsonl, llava, modaverse, pairs, pope, question_answer, triples
from inlay.recipes.data.formats.chat import alpaca, swift, trl
from inlay.recipes.data.formats.chat.parts import KINDS
from inlay.recipes.data.formats.coco_captions import read_coco_captions
from inlay.recipes.data.formats.minigpt4 import read_filter_cap
from inlay.recipes.data.formats.nextgpt import instructions, mosit, turns
from inlay.recipes.data.formats.nextgpt import pairs as nextgpt_pairs
from inlay.recipes.data.formats.preference import (
    align_anything,
    llama_factory,
    mdpo,
    povid,
    rlaif_v,
    rlhf_v,
    symmpo,
    vlfeedback,
)
from inlay.recipes.data.formats.preference import swift as swift_preference
from inlay.recipes.data.formats.preference import trl as trl_preference
from inlay.recipes.data.formats.read_file import Convert, Repeated, read_file
from inlay.recipes.data.rows.columns import renamed
from inlay.recipes.data.rows.media_fields import FIELDS
from inlay.recipes.data.rows.media_values import MediaRules, Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.open_table import json_lines
from inlay.recipes.settings.user_functions import guarded

__all__ = ["FORMATS", "Format", "Shape", "register_format"]

Fields: TypeAlias = Mapping[str, Any]
Shape: TypeAlias = Literal["records", "object", "other"]
"""A JSON list or JSON lines; one JSON object; a file without a JSON suffix."""

_KEYS_OF_LINES = (
    *("messages", "conversations", "conversation", "text_input", "text", "caption", "meta_response"),
    *("prompt", "query", "instruction", "question"),
)
"""Every line of a known format has one of these keys; the reader of messages reports other lines."""
_OPENAI = frozenset(KINDS) - frozenset(FIELDS)
"""Types of OpenAI's media parts."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One file format: a converter of one row (``sample``), or a reader of a whole file (``read``)."""

    recognise: Callable[[Fields, Path], bool]
    sample: Convert | None = None
    """``sample(row, root, where, offenders, **options)``, see
    :func:`~inlay.recipes.data.formats.read_file.read_file`."""
    read: Callable[..., Sequence[Sample]] | None = None
    """``read(path, images, *, offenders, **options)``."""
    repeated: Repeated = "raise"
    """What a repeated id means, for formats of rows."""
    shapes: tuple[Shape, ...] = ("records", "object", "other")
    """The shapes of files for which ``recognise`` is called."""
    rules: bool = False
    """Whether ``read`` takes :class:`~inlay.recipes.data.rows.media_values.MediaRules` instead of a folder."""

    @property
    def function(self) -> Callable[..., Any] | None:
        """The function that identifies the format."""
        function = self.sample or self.read
        return function and inspect.unwrap(function)

    def convert(self, columns: Mapping[str, str], **options: Any) -> Convert:
        """The converter of one row, with names of columns and options; options without a parameter are ignored.

        Raises:
            DataError: the format reads whole files.
        """
        sample = self.sample
        if sample is None:
            raise DataError("this format is read as a whole file, not row by row")
        given = _known(sample, options)
        return partial(_converted, sample=sample, columns=dict(columns), options=given)

    def samples(
        self,
        path: Path,
        images: Root,
        offenders: Offenders,
        *,
        columns: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Sequence[Sample]:
        """Read a file; options that the reader has no parameter for are ignored.

        Raises:
            DataError: an invalid file; or names of columns for a format without rows.
        """
        if self.read is None:
            return read_file(self.convert(columns or {}, **options), path, images, offenders, repeated=self.repeated)
        if columns:
            raise DataError(f"{path}: --data.columns is for files of rows; this format has its own fields")
        rules = MediaRules.of(images)
        return self.read(path, rules if self.rules else rules.folder, offenders=offenders, **_known(self.read, options))


def _converted(
    row: Fields,
    root: Root,
    where: str,
    offenders: Offenders,
    *,
    sample: Convert,
    columns: Mapping[str, str],
    options: Mapping[str, Any],
) -> Sample | Sequence[Sample]:
    return sample(renamed(row, columns) if columns else row, root, where, offenders, **options)


def _known(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in parameters}


def _messages(first: Fields, path: Path) -> bool:
    return "messages" in first or (
        not any(key in first for key in _KEYS_OF_LINES) and path.is_file() and json_lines(path)
    )


def _openai(first: Fields, _: Path) -> bool:
    """Whether a part of a message has a type of OpenAI's."""
    messages = first.get("messages")
    contents = (
        [turn.get("content") for turn in messages if isinstance(turn, dict)] if isinstance(messages, list) else []
    )
    parts = [part for content in contents if isinstance(content, list) for part in content if isinstance(part, dict)]
    return any(isinstance(part.get("type"), str) and part["type"] in _OPENAI for part in parts)


def _sharegpt(first: Fields, _: Path) -> bool:
    """Conversations without LLaVA's field ``image`` (or ``video``, ``audio``)."""
    return "conversations" in first and not any(name in first for name, _ in FIELDS.values())


def _nextgpt_turns(first: Fields, _: Path) -> bool:
    raw = first.get("conversations", first.get("conversation"))
    listed = raw if isinstance(raw, list) else []
    return any(isinstance(turn, dict) and {"input_modality", "output_modality"} & set(turn) for turn in listed)


def _vqa(document: Fields, _: Path) -> bool:
    notes = document.get("annotations")
    note = notes[0] if isinstance(notes, list) and notes else {}
    return "questions" in document or (isinstance(note, dict) and "answers" in note)


def _refuse_vqa(path: Path, *_: object, **__: object) -> Sequence[Sample]:
    raise DataError(
        f"{path}: VQA v2 consists of two files, and both are needed: --data.train QUESTIONS with "
        "--data.annotations ANNOTATIONS, --data.test QUESTIONS with --data.test_annotations ANNOTATIONS "
        "(in Python, inlay.recipes.data.read_vqa)"
    )


def _rows(sample: Convert, recognise: Callable[[Fields, Path], bool], repeated: Repeated = "raise") -> Format:
    return Format(sample=sample, recognise=recognise, repeated=repeated, shapes=("records",))


def _plain(sample: Convert, recognise: Callable[[Fields], bool]) -> Format:
    """A format whose rows have no list of turns in LLaVA's form; that list decides where a row has both."""
    return _rows(sample, lambda first, _: "conversations" not in first and recognise(first))


def _objects(read: Callable[..., Sequence[Sample]], recognise: Callable[[Fields, Path], bool]) -> Format:
    return Format(read=read, recognise=recognise, shapes=("object",), rules=True)


def _preference(sample: Convert, recognise: Callable[[Fields], bool], repeated: Repeated = "raise") -> Format:
    return _rows(sample, lambda first, _: recognise(first), repeated)


FORMATS: dict[str, Format] = {
    "swift_preference": _preference(swift_preference.sample, swift_preference.recognise),
    "sharegpt_preference": _preference(llama_factory.sample_sharegpt, llama_factory.recognise_sharegpt, "number"),
    "povid": _preference(povid.sample, povid.recognise, "number"),
    "alpaca_preference": _preference(llama_factory.sample_alpaca, llama_factory.recognise_alpaca),
    "vlfeedback": _preference(vlfeedback.sample, vlfeedback.recognise),
    "mdpo": _preference(mdpo.sample, mdpo.recognise),
    # "inlay pairs" gives all questions of a dialogue the id of the dialogue.
    "trl_preference": _preference(trl_preference.sample, trl_preference.recognise, "number"),
    "trl_labels": _preference(trl_preference.sample_label, trl_preference.recognise_labels),
    "align_anything": _preference(align_anything.sample, align_anything.recognise),
    "symmpo": _preference(symmpo.sample, symmpo.recognise),
    "rlaif_v": _preference(rlaif_v.sample, rlaif_v.recognise),
    "rlhf_v": _preference(rlhf_v.sample, rlhf_v.recognise),
    "implicit_prompt": _preference(trl_preference.sample_implicit, trl_preference.recognise_implicit),
    "openai": _rows(jsonl.sample, _openai),
    "messages": _rows(jsonl.sample, _messages),
    "trl": _plain(trl.sample, trl.recognise),
    "swift": _plain(swift.sample, swift.recognise),
    "alpaca": _plain(alpaca.sample, alpaca.recognise),
    "triples": _rows(triples.sample, lambda first, _: "text_input" in first and "conversations" not in first),
    "pope": _rows(pope.sample, lambda first, _: "label" in first and "text" in first),
    "question_answer": _plain(question_answer.sample, question_answer.recognise),
    "pairs": _plain(pairs.sample, pairs.recognise),
    "modaverse": _rows(modaverse.sample, lambda first, _: "meta_response" in first),
    "nextgpt_pairs": _rows(
        nextgpt_pairs.sample,
        lambda first, _: "caption" in first and any(map(first.__contains__, nextgpt_pairs.NAME_FIELDS)),
    ),
    "mosit": _rows(
        mosit.sample, lambda first, _: "conversation" in first and any(key.endswith("_list") for key in first)
    ),
    "nextgpt_turns": _rows(turns.sample, _nextgpt_turns),
    "nextgpt": _rows(
        instructions.sample,
        lambda first, _: any(key.startswith(("input_", "output_")) or key.endswith("_captions") for key in first),
    ),
    "vqa": _objects(_refuse_vqa, _vqa),
    "coco_captions": _objects(read_coco_captions, lambda document, _: "images" in document),
    "filter_cap": _objects(read_filter_cap, lambda document, _: "annotations" in document),
    "sharegpt": _rows(llava.sample, _sharegpt, "number"),
    # The last one: its reader reports files of unknown format.
    "llava": Format(sample=llava.sample, recognise=lambda *_: True, repeated="number", shapes=("records", "object")),
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
        recognise: ``recognise(first, path)`` -> whether the file is of this format. ``first`` has the fields of the
            first rows of a JSON list or of JSON lines, or is the one JSON object of a file; empty for all other files.

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
    entry = Format(
        read=guarded(f"format {name}", read, lambda path, *_, **__: str(path)),
        recognise=guarded(f"format {name}", recognise, lambda _, path: str(path)),
    )
    register(FORMATS, name, entry, "format", by="function")
    others = {held: entry for held, entry in FORMATS.items() if held != name}
    own = {name: FORMATS[name]}
    FORMATS.clear()
    FORMATS.update(own | others)
