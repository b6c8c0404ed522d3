"""Read a data file of any format that can be told from its own contents."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from json import JSONDecoder
from pathlib import Path
from typing import Any, Literal, TypeAlias

from inlay.recipes.data.coco_captions import read_coco_captions
from inlay.recipes.data.fields import decode, file_bytes, parse
from inlay.recipes.data.jsonl import numbered_lines, read_messages_jsonl
from inlay.recipes.data.llava import read_llava
from inlay.recipes.data.minigpt4 import read_filter_cap
from inlay.recipes.data.modaverse import read_modaverse
from inlay.recipes.data.mosit import read_mosit
from inlay.recipes.data.nextgpt import read_nextgpt
from inlay.recipes.data.nextgpt_pairs import NAME_FIELDS, read_nextgpt_pairs
from inlay.recipes.data.nextgpt_turns import read_nextgpt_turns
from inlay.recipes.data.pairs import read_pairs
from inlay.recipes.data.pope import read_pope
from inlay.recipes.data.sample import DataError, Sample, check_media
from inlay.recipes.data.triples import read_triples

__all__ = ["read_samples"]

Reader: TypeAlias = Callable[[Path, Path | None], list[Sample]]

_SUFFIXES = (".json", ".jsonl")
_HEAD = 1 << 20


def read_samples(
    path: str | Path,
    images: str | Path | None = None,
    *,
    per: Literal["image", "caption"] = "image",
    embeddings: str | Path | None = None,
) -> list[Sample]:
    """Read samples and see that their media are there.

    Args:
        path: ``.json`` is LLaVA's format, a list of InstructBLIP's triples, COCO captions, MiniGPT-4's
            ``filter_cap.json``, or one of NExT-GPT's and ModaVerse's lists; ``.jsonl`` is one conversation, triple,
            image-text pair or question of POPE a line. The first record tells which; VQA v2, which is two files, has
            :func:`~inlay.recipes.data.vqa.read_vqa`.
        images: the folder that pictures, sounds and clips are in; None when the data are text only.
        per: of COCO captions, one sample an image, to be measured by, or one a caption, to learn from.
        embeddings: the folder of NExT-GPT's caption embeddings (``.npy``); None to compute them from the captions.

    Raises:
        DataError: an unknown suffix, anything wrong inside the file, or images that are missing.

    Example:
        >>> read_samples("train.csv")
        Traceback (most recent call last):
        inlay.recipes.data.sample.DataError: train.csv: expected a file that ends in .json or .jsonl
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        hint = "; webdataset shards go to --data.align" if path.suffix.lower() == ".tar" else ""
        raise DataError(f"{path}: expected a file that ends in {' or '.join(_SUFFIXES)}{hint}")
    reader = _of_lines(path) if path.suffix.lower() == ".jsonl" else _of_json(path, per, embeddings)
    root = Path(images) if images is not None else None
    samples = reader(path, root)
    if root is not None:
        check_media(samples, root)
    return samples


def _of_lines(path: Path) -> Reader:
    """By the first line; a line of no known form is for the reader of conversations to complain about."""
    number, line = next(numbered_lines(path), (0, "{}"))
    first = parse(line, f"{path}, line {number}")
    if not isinstance(first, dict) or "messages" in first:
        return read_messages_jsonl
    if "text_input" in first:
        return read_triples
    if "label" in first and "text" in first:
        return read_pope
    return read_pairs if "image" in first and ("text" in first or "caption" in first) else read_messages_jsonl


def _of_json(path: Path, per: Literal["image", "caption"], embeddings: str | Path | None) -> Reader:
    """By the first item of a list, found without reading the rest, or by the keys of an object."""
    head = _head(path)
    if head.startswith("{"):
        return _of_object(path, per)
    first: Any = None
    with suppress(ValueError, RecursionError):  # for the reader to complain about
        first, _ = JSONDecoder().raw_decode(head[1:].lstrip())
    if not isinstance(first, dict):
        return read_llava
    if "text_input" in first and "conversations" not in first:
        return read_triples
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
