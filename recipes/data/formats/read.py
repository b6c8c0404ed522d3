"""Read a data file of any registered format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from inlay.recipes.data.formats.registry import FORMATS, Shape
from inlay.recipes.data.rows.fields import decode, file_bytes, parse
from inlay.recipes.data.rows.media_check import check_media
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.json_table import JsonTable
from inlay.recipes.data.rows.tables.names import SUFFIXES, is_json, is_table
from inlay.recipes.data.rows.tables.open_table import head_of, open_table

__all__ = ["format_name", "read_rows", "read_samples"]


def read_samples(
    path: str | Path,
    images: str | Path | None = None,
    *,
    per: Literal["image", "caption"] = "image",
    embeddings: str | Path | None = None,
    links: bool = False,
) -> Sequence[Sample]:
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
        >>> read_samples("train.txt")
        Traceback (most recent call last):
        inlay.recipes.data.rows.sample.DataError: train.txt: expected a file that ends in .json, .jsonl, ...
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
) -> Sequence[Sample]:
    """Read samples without checking their media.

    Args:
        path: as for :func:`read_samples`.
        images: as for :func:`read_samples`.
        per: as for :func:`read_samples`.
        embeddings: as for :func:`read_samples`.
        offenders: collects invalid rows; if not given, the first one raises an error.
    """
    path, root = Path(path), Path(images) if images is not None else None
    for shape, first in _beginnings(path):
        for held in FORMATS.values():
            if shape in held.shapes and held.recognise(first, path):
                return held.samples(path, root, offenders or Offenders(), per=per, embeddings=embeddings)
    hint = "; webdataset shards go to --data.align" if path.suffix.lower() == ".tar" else ""
    raise DataError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}{hint}")


def _beginnings(path: Path) -> Iterator[tuple[Shape, Mapping[str, Any]]]:
    """The first record of a table, found without reading the rest, or the one object of a file.

    Registered formats are asked about a file that is not JSON before it is opened as a table.
    """
    if not is_json(path):
        yield "other", {}
        if not is_table(path):
            return
    opened = open_table(path)
    if isinstance(opened, JsonTable) and not opened.lines and head_of(opened.path).startswith("{"):
        yield "object", parse(decode(file_bytes(opened.path), str(path)), str(path))
        return
    first: Any = None
    with suppress(DataError):  # The reader reports invalid JSON.
        _, first = next(opened.stream())
    yield "records", first if isinstance(first, dict) else {}


def format_name(path: Path) -> str:
    """The name of the format of a file; empty if there is none."""
    for shape, first in _beginnings(path):
        for name, held in FORMATS.items():
            if shape in held.shapes and held.recognise(first, path):
                return name
    return ""
