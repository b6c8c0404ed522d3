"""Read a data file of any registered format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.registry import FORMATS, Format, Shape
from inlay.recipes.data.rows.checks.media_check import check_media
from inlay.recipes.data.rows.columns import check_columns, renamed
from inlay.recipes.data.rows.fields import decode, file_bytes, parse
from inlay.recipes.data.rows.media_values import MediaRules, Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.base import Table
from inlay.recipes.data.rows.tables.json_table import JsonTable
from inlay.recipes.data.rows.tables.names import SUFFIXES, is_json, is_table
from inlay.recipes.data.rows.tables.open_table import head_of, open_table

__all__ = ["check_beginning", "first_fields", "format_of", "read_rows", "read_samples", "recognised"]

FIRST_ROWS = 5
"""The number of rows by whose fields a format is recognised."""


def read_samples(
    path: str | Path,
    images: Root = None,
    *,
    per: Literal["image", "caption"] = "image",
    embeddings: str | Path | None = None,
    links: bool = False,
    format_name: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Sequence[Sample]:
    """Read samples and check that their media are there.

    Args:
        path: a JSON list, JSON lines (``.jsonl``, or detected in ``.json``), or one JSON object, of any format of
            the page "Data" of the documentation. VQA v2 consists of two files and has
            :func:`~inlay.recipes.data.formats.vqa.questions.read_vqa`. Your own formats are tried first, see
            :func:`~inlay.recipes.data.formats.registry.register_format`.
        images: the folder of pictures, sounds and clips, or
            :class:`~inlay.recipes.data.rows.media_values.MediaRules`; None if no file is named.
        per: of COCO captions: one sample for each image, for evaluation, or for each caption, for training.
        embeddings: the folder of NExT-GPT's caption embeddings (``.npy``); None to compute them from the captions.
        links: whether absolute paths and symbolic links may lead out of the folder of media.
        format_name: the name of the format; by default its first rows decide.
        columns: name of a field in the format -> name of the column in the file.

    Raises:
        DataError: an unknown suffix, invalid contents, or invalid media.

    Example:
        >>> read_samples("train.txt")
        Traceback (most recent call last):
        inlay.recipes.data.rows.sample.DataError: train.txt: expected a file that ends in .json, .jsonl, ...
    """
    rules = MediaRules.of(images)
    rules = replace(rules, links=links or rules.links)
    samples = read_rows(path, rules, per=per, embeddings=embeddings, format_name=format_name, columns=columns)
    check_media(samples, rules.folder or Path().absolute(), links=rules.links)
    return samples


def read_rows(
    path: str | Path,
    images: Root,
    *,
    per: Literal["image", "caption"] = "image",
    embeddings: str | Path | None = None,
    format_name: str | None = None,
    columns: Mapping[str, str] | None = None,
    offenders: Offenders | None = None,
) -> Sequence[Sample]:
    """Read samples without checking their media.

    Args:
        path: as for :func:`read_samples`.
        images: as for :func:`read_samples`.
        per: as for :func:`read_samples`.
        embeddings: as for :func:`read_samples`.
        format_name: as for :func:`read_samples`.
        columns: as for :func:`read_samples`.
        offenders: collects invalid rows; if not given, the first one raises an error.
    """
    path, columns = Path(path), columns or {}
    chosen = _chosen(path, format_name, columns)
    return chosen.samples(path, images, offenders or Offenders(), columns=columns, per=per, embeddings=embeddings)


def recognised(path: Path, format_name: str | None = None, columns: Mapping[str, str] | None = None) -> str:
    """The name of the format in which a file is read; empty if there is none.

    Args:
        path: the file.
        format_name: as for :func:`read_samples`.
        columns: as for :func:`read_samples`.
    """
    try:
        chosen = _chosen(path, format_name, columns or {})
    except DataError:
        return ""
    return next(name for name, held in FORMATS.items() if held is chosen)


def check_beginning(path: Path, format_name: str | None = None, columns: Mapping[str, str] | None = None) -> None:
    """Check that a file can be read and has a known format, by its first row; one JSON object is not read.

    Args:
        path: the file.
        format_name: as for :func:`read_samples`.
        columns: as for :func:`read_samples`.

    Raises:
        DataError: the file cannot be read, is not of the format, or has no such columns.
    """
    if format_name is not None:
        _known_format(format_name)
    if is_table(path) and not is_json(path):  # The reader of ``datasets`` converts the whole file.
        return
    if is_json(path):
        opened = open_table(path)
        if isinstance(opened, JsonTable) and not opened.lines and head_of(opened.path).startswith("{"):
            return
        for _ in opened.stream():
            break
    _chosen(path, format_name, columns or {})


def _known_format(name: str) -> Format:
    if name not in FORMATS:
        raise DataError(f"data.format: expected one of {', '.join(FORMATS)}, got {shown(name)}")
    return FORMATS[name]


def _chosen(path: Path, format_name: str | None, columns: Mapping[str, str]) -> Format:
    found = None if is_json(path) else _own_format(path, format_name)
    if found is not None:
        return found
    shape, first = _beginning(path)
    if shape == "records":
        check_columns(first, columns, str(path))
    return format_of(renamed(first, columns), path, shape, format_name)


def _own_format(path: Path, name: str | None) -> Format | None:
    """A registered format that takes a file which is not JSON, without opening the file as a table."""
    return next(
        (
            held
            for own, held in FORMATS.items()
            if "other" in held.shapes and name in (None, own) and held.recognise({}, path)
        ),
        None,
    )


def format_of(first: Mapping[str, Any], path: Path, shape: Shape = "records", name: str | None = None) -> Format:
    """The format of a file.

    Args:
        first: the fields of the first rows, see :func:`first_fields`, or the one JSON object of a file.
        path: the file.
        shape: its shape.
        name: the format's name, if it is known.

    Raises:
        DataError: an unknown name, a format for another shape of files, or no format.
    """
    if name is not None:
        if shape not in (chosen := _known_format(name)).shapes:
            raise DataError(f"{path}: the format {name} is for {' and '.join(chosen.shapes)}, not for {shape}")
        return chosen
    for held in FORMATS.values():
        if shape in held.shapes and held.recognise(first, path):
            return held
    hint = "; webdataset shards go to --data.align" if path.suffix.lower() == ".tar" else ""
    raise DataError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}{hint}")


def first_fields(rows: Iterator[Any]) -> dict[str, Any]:
    """The fields of the first rows together; of a field that several have, the first value that is not null."""
    found: dict[str, Any] = {}
    for row in islice(rows, FIRST_ROWS):
        if isinstance(row, dict):
            found |= {name: value for name, value in row.items() if found.get(name) is None}
    return found


def _beginning(path: Path) -> tuple[Shape, Mapping[str, Any]]:
    """The fields of the first rows, found without reading the rest, or the one object of a file."""
    if not is_table(path):
        return "other", {}
    opened = open_table(path)
    if isinstance(opened, JsonTable) and not opened.lines and head_of(opened.path).startswith("{"):
        return "object", parse(decode(file_bytes(opened.path), str(path)), str(path))
    return "records", first_fields(_first_rows(opened))


def _first_rows(opened: Table) -> Iterator[Any]:
    """The rows up to the first invalid one, which the reader reports."""
    with suppress(DataError):
        yield from (row for _, row in opened.stream())
