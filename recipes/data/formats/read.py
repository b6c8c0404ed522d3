"""Read a data file of any format that can be told from its own contents."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from json import JSONDecoder
from pathlib import Path
from typing import Any, Literal, TypeAlias

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
from inlay.recipes.data.rows.fields import decode, file_bytes, parse
from inlay.recipes.data.rows.media_check import check_media
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import json_lines, numbered_lines
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["read_rows", "read_samples"]

Reader: TypeAlias = Callable[..., list[Sample]]
"""``reader(path, media, offenders=...)``."""

_SUFFIXES = (".json", ".jsonl")
_HEAD = 1 << 20
_KEYS_OF_LINES = ("messages", "conversations", "conversation", "text_input", "text", "caption", "meta_response")
"""One of them is in every line of a known form."""


def read_samples(
    path: str | Path,
    images: str | Path | None = None,
    *,
    per: Literal["image", "caption"] = "image",
    embeddings: str | Path | None = None,
    links: bool = False,
) -> list[Sample]:
    """Read samples and check that their media are there.

    Args:
        path: a JSON list, JSON lines (``.jsonl``, or told by the contents), or one JSON object. Lists and lines hold
            LLaVA's items, conversations of messages, InstructBLIP's triples, image-text pairs, POPE's questions, or
            items of NExT-GPT and ModaVerse; an object is COCO captions or MiniGPT-4's ``filter_cap.json``. The first
            record tells which. VQA v2 consists of two files and has
            :func:`~inlay.recipes.data.formats.vqa.questions.read_vqa`.
        images: the folder that pictures, sounds and clips are in; None when the data are text only.
        per: of COCO captions, one sample an image, to be measured by, or one a caption, to learn from.
        embeddings: the folder of NExT-GPT's caption embeddings (``.npy``); None to compute them from the captions.
        links: symbolic links may lead out of the folder of media.

    Raises:
        DataError: an unknown suffix, anything wrong inside the file, or media that cannot be used.

    Example:
        >>> read_samples("train.csv")
        Traceback (most recent call last):
        inlay.recipes.data.rows.sample.DataError: train.csv: expected a file that ends in .json or .jsonl
    """
    samples = read_rows(path, images, per=per, embeddings=embeddings)
    if images is not None:
        check_media(samples, Path(images), links=links)
    return samples


def read_rows(
    path: str | Path,
    images: str | Path | None,
    *,
    per: Literal["image", "caption"] = "image",
    embeddings: str | Path | None = None,
    offenders: Offenders | None = None,
) -> list[Sample]:
    """Read samples without looking at their media.

    Args:
        path: as for :func:`read_samples`, and so are the others.
        images: the folder of the media.
        per: of COCO captions, what a sample is.
        embeddings: the folder of caption embeddings.
        offenders: takes the rows that cannot be used; the first one is an error if not given.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        hint = "; webdataset shards go to --data.align" if path.suffix.lower() == ".tar" else ""
        raise DataError(f"{path}: expected a file that ends in {' or '.join(_SUFFIXES)}{hint}")
    first = _first(path)
    reader = _of_object(path, per) if first is None else _of_record(first, embeddings)
    return reader(path, Path(images) if images is not None else None, offenders=offenders)


def _first(path: Path) -> dict[str, Any] | None:
    """The first record of a list or of lines, found without reading the rest; None for a file of one object."""
    if json_lines(path):
        number, line = next(numbered_lines(path), (0, "{}"))
        first: Any = None
        with suppress(DataError):  # The reader reports a line that is no JSON.
            first = parse(line, f"{path}, line {number}")
        known = isinstance(first, dict) and any(key in first for key in _KEYS_OF_LINES)
        return first if known else {"messages": None}
    head = _head(path)
    if head.startswith("{"):
        return None
    first = None
    with suppress(ValueError, RecursionError):
        first, _ = JSONDecoder().raw_decode(head[1:].lstrip())
    return first if isinstance(first, dict) else {}


def _of_record(first: dict[str, Any], embeddings: str | Path | None) -> Reader:
    """By the keys of the first record; LLaVA's reader reports a record of no known form."""
    if "messages" in first:
        return read_messages_jsonl
    if "text_input" in first and "conversations" not in first:
        return read_triples
    if "label" in first and "text" in first:
        return read_pope
    if "conversations" not in first and "image" in first and any(field in first for field in TEXT_FIELDS):
        return read_pairs
    return _any_to_any(first, embeddings) or read_llava


def _any_to_any(first: dict[str, Any], embeddings: str | Path | None) -> Reader | None:
    """The lists of NExT-GPT and ModaVerse, by the keys of an item and of its turns."""
    keys = set(first)
    if "meta_response" in keys:
        return read_modaverse
    if "caption" in keys and keys & set(NAME_FIELDS):
        return read_nextgpt_pairs
    if any(key.endswith("_list") for key in keys) and "conversation" in keys:
        return read_mosit
    turns = first.get("conversations", first.get("conversation"))
    turns = turns if isinstance(turns, list) else []
    if any(isinstance(turn, dict) and {"input_modality", "output_modality"} & set(turn) for turn in turns):
        return partial(read_nextgpt_turns, embeddings=embeddings)
    if any(key.startswith(("input_", "output_")) or key.endswith("_captions") for key in keys):
        return partial(read_nextgpt, embeddings=embeddings)
    return None


def _of_object(path: Path, per: Literal["image", "caption"]) -> Reader:
    document = parse(decode(file_bytes(path), str(path)), str(path))
    notes = document.get("annotations")
    note = notes[0] if isinstance(notes, list) and notes and isinstance(notes[0], dict) else {}
    if "questions" in document or "answers" in note:
        raise DataError(
            f"{path}: one of the two files of VQA v2, which come together: --data.train QUESTIONS with "
            "--data.annotations ANNOTATIONS, --data.test QUESTIONS with --data.test_annotations ANNOTATIONS "
            "(in Python, inlay.recipes.data.read_vqa)"
        )
    if "images" in document:
        return partial(read_coco_captions, per=per)
    return read_filter_cap if "annotations" in document else read_llava


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD).decode("utf-8-sig", errors="ignore").lstrip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
