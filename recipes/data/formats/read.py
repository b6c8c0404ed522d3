"""Read a data file of any registered format."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from json import JSONDecoder
from pathlib import Path
from typing import Any, Literal

from inlay.recipes.data.formats.registry import FORMATS, Shape
from inlay.recipes.data.rows.fields import decode, file_bytes, parse
from inlay.recipes.data.rows.media_check import check_media
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import head_of, json_lines, numbered_lines
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["format_name", "read_rows", "read_samples"]

_SUFFIXES = (".json", ".jsonl")


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
        path: a JSON list, JSON lines (``.jsonl``, or detected in ``.json``), or one JSON object. Lists and lines hold
            LLaVA's items, conversations of messages, InstructBLIP's triples, image-text pairs, POPE's questions, or
            items of NExT-GPT and ModaVerse; an object is COCO captions or MiniGPT-4's ``filter_cap.json``. The first
            record decides. VQA v2 consists of two files and has
            :func:`~inlay.recipes.data.formats.vqa.questions.read_vqa`. Your own formats are tried first, see
            :func:`~inlay.recipes.data.formats.registry.register_format`.
        images: the folder of pictures, sounds and clips; None if the data are text only.
        per: of COCO captions: one sample for each image, for evaluation, or for each caption, for training.
        embeddings: the folder of NExT-GPT's caption embeddings (``.npy``); None to compute them from the captions.
        links: whether symbolic links may lead out of the folder of media.

    Raises:
        DataError: an unknown suffix, invalid contents, or invalid media.

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
    """Read samples without checking their media.

    Args:
        path: as for :func:`read_samples`.
        images: as for :func:`read_samples`.
        per: as for :func:`read_samples`.
        embeddings: as for :func:`read_samples`.
        offenders: collects invalid rows; if not given, the first one raises an error.
    """
    path, root = Path(path), Path(images) if images is not None else None
    shape, first = _beginning(path)
    for held in FORMATS.values():
        if shape in held.shapes and held.recognise(first, path):
            return held.samples(path, root, offenders or Offenders(), per=per, embeddings=embeddings)
    hint = "; webdataset shards go to --data.align" if path.suffix.lower() == ".tar" else ""
    raise DataError(f"{path}: expected a file that ends in {' or '.join(_SUFFIXES)}{hint}")


def _beginning(path: Path) -> tuple[Shape, Mapping[str, Any]]:
    """The first record of a list or of lines, found without reading the rest, or the one object of a file."""
    if path.suffix.lower() not in _SUFFIXES:
        return "other", {}
    first: Any = None
    if json_lines(path):
        number, line = next(numbered_lines(path), (0, "{}"))
        with suppress(DataError):  # The reader reports invalid JSON.
            first = parse(line, f"{path}, line {number}")
    elif (head := head_of(path)).startswith("{"):
        return "object", parse(decode(file_bytes(path), str(path)), str(path))
    else:
        with suppress(ValueError, RecursionError):
            first, _ = JSONDecoder().raw_decode(head[1:].lstrip())
    return "records", first if isinstance(first, dict) else {}


def format_name(path: Path) -> str:
    """The name of the format of a file; empty if there is none."""
    shape, first = _beginning(path)
    return next(
        (name for name, held in FORMATS.items() if shape in held.shapes and held.recognise(first, path)),
        "",
    )
