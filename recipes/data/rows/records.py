"""Reads tables: a JSON list of objects, or one object a line, with errors that name file, place and field.

A list is parsed item by item, so that the parsed file is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, Part, TextPart
from inlay.adapters.media.modality import Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import decode, file_bytes, parse, text
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.json_table import json_name
from inlay.recipes.data.rows.tables.open_table import open_table
from inlay.recipes.data.rows.tables.reading import Repeated, read_table
from inlay.recipes.data.rows.tables.samples import Read, Samples

__all__ = ["described", "filled", "json_name", "objects", "read_each", "records", "table", "whole"]

Record = tuple[str, dict[str, Any]]
"""The place of a record, and its fields."""


def table(path: Path, key: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read a JSON object with a list of objects under one key.

    Returns:
        The whole object and the list.

    Raises:
        DataError: another shape, or an empty list.
    """
    document = parse(decode(file_bytes(path), str(path)), str(path))
    if not isinstance(document, dict) or not isinstance(document.get(key), list):
        got = f"an object with {shown(sorted(document))}" if isinstance(document, dict) else json_name(document)
        raise DataError(f'{path}: expected {{"{key}": [...], ...}}, got {got}')
    if not document[key]:
        raise DataError(f"{path}, {key}: expected at least one entry, got an empty list")
    return document, objects(document[key], f"{path}, {key}")


def records(path: Path, offenders: Offenders | None = None) -> Iterator[Record]:
    """The objects of a table, such as a JSON list, JSON lines or a Parquet file.

    Args:
        path: the file; :func:`~inlay.recipes.data.rows.tables.open_table.open_table` tells what may be given.
        offenders: collects rows that are not objects.

    Raises:
        DataError: another shape, or no objects.
    """
    offenders = offenders or Offenders()
    for where, value in open_table(path).stream():
        if isinstance(value, DataError):
            offenders.add(where, value)
        else:
            yield where, value


def read_each(path: Path, read: Read, offenders: Offenders | None = None, *, repeated: Repeated = "raise") -> Samples:
    """The samples of each record, in the order of the file; checked now, and converted again on each access.

    Args:
        path: the file; :func:`~inlay.recipes.data.rows.tables.open_table.open_table` tells what may be given.
        read: ``read(record, where=place)`` -> its sample, or several or none. A function of a module, or a ``partial``
            of one, can be sent to worker processes that are not forked.
        offenders: collects invalid records; if not given, the first one raises an error.
        repeated: the rule for repeated ids.

    Raises:
        DataError: an invalid record, or a duplicate id.
    """
    return read_table(open_table(path), read, offenders or Offenders(), repeated)


def objects(values: Sequence[Any], where: str) -> list[dict[str, Any]]:
    """Check that every entry of a list is an object."""
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise DataError(f"{where}[{index}]: expected an object, got {json_name(value)}")
    return list(values)


def whole(item: Mapping[str, Any], field: str, where: str) -> int:
    """Check that a field is a whole number from 0.

    Example:
        >>> whole({"image_id": "7"}, "image_id", "a.json, question 0")
        Traceback (most recent call last):
        inlay.recipes.data.rows.sample.DataError: a.json, question 0, image_id: expected a whole number from 0, got '7'
    """
    value = item.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{where}, {field}: expected a whole number from 0, got {shown(value)}")
    return value


def filled(item: Mapping[str, Any], field: str, where: str) -> str:
    """Check that a field is text with more than white space; returns it stripped.

    Example:
        >>> filled({"caption": " A disc. "}, "caption", "")
        'A disc.'
    """
    value = text(item.get(field), f"{where}, {field}").strip()
    if not value:
        raise DataError(f"{where}, {field}: expected some text, got nothing but white space")
    return value


def described(
    name: str,
    source: Any,
    asked: str,
    answer: str,
    where: str,
    *,
    modality: Modality = "image",
    kinds: tuple[str, ...] = (),
    answers: tuple[str, ...] = (),
) -> Sample:
    """A sample of one question: a medium, optional text, and the answer.

    Args:
        name: the sample's id.
        source: a path, or a medium in memory.
        asked: the user's text beside the medium; may be empty.
        answer: the assistant's text.
        where: the sample's origin.
        modality: of the medium.
        kinds: the question's type, if known.
        answers: human answers, if known.
    """
    content: tuple[Part, ...] = (MediaPart(modality, source), *([TextPart(asked)] if asked else []))
    messages = (Message("user", content), Message("assistant", (TextPart(answer),)))
    return Sample(name, messages, where, kinds, (answers,) if answers else ())
