"""Data files that are tables: a list of JSON objects with fixed fields, checked by file, place and field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, Part, TextPart
from inlay.hub.safety.text import shown
from inlay.recipes.data.fields import decode, file_bytes, parse, text
from inlay.recipes.data.jsonl import numbered_lines
from inlay.recipes.data.sample import DataError, Sample

__all__ = ["described", "filled", "objects", "records", "table", "whole"]

Record = tuple[str, dict[str, Any]]
"""Where a record stands, and its fields."""


def table(path: Path, key: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A JSON object and the list of objects that it holds under one key.

    Returns:
        The whole object and the list.

    Raises:
        DataError: another shape, or an empty list.
    """
    document = parse(decode(file_bytes(path), str(path)), str(path))
    if not isinstance(document, dict) or not isinstance(document.get(key), list):
        got = f"an object with {shown(sorted(document))}" if isinstance(document, dict) else _name(document)
        raise DataError(f'{path}: expected {{"{key}": [...], ...}}, got {got}')
    if not document[key]:
        raise DataError(f"{path}, {key}: expected at least one entry, got an empty list")
    return document, objects(document[key], f"{path}, {key}")


def records(path: Path) -> Iterator[Record]:
    """The objects of a JSON list, or of JSON lines if the file's name ends in ``.jsonl``.

    Raises:
        DataError: another shape, or no object at all.
    """
    count = 0
    for where, value in _lines(path) if path.suffix.lower() == ".jsonl" else _items(path):
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected an object, got {_name(value)}")
        count += 1
        yield where, value
    if not count:
        raise DataError(f"{path}: expected at least one record, got none")


def objects(values: Sequence[Any], where: str) -> list[dict[str, Any]]:
    """Check that every entry of a list is an object."""
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise DataError(f"{where}[{index}]: expected an object, got {_name(value)}")
    return list(values)


def whole(item: Mapping[str, Any], field: str, where: str) -> int:
    """A whole number from 0 on.

    Example:
        >>> whole({"image_id": "7"}, "image_id", "train.json, question 0")
        Traceback (most recent call last):
        inlay.recipes.data.sample.DataError: train.json, question 0, image_id: expected a whole number from 0, got '7'
    """
    value = item.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{where}, {field}: expected a whole number from 0, got {shown(value)}")
    return value


def filled(item: Mapping[str, Any], field: str, where: str) -> str:
    """A text that is more than white space, without that at its ends.

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
    image: Any,
    asked: str,
    answer: str,
    where: str,
    *,
    kinds: tuple[str, ...] = (),
    answers: tuple[str, ...] = (),
) -> Sample:
    """A sample of one turn: a picture and perhaps words, and what is said to them.

    Args:
        name: the sample's id.
        image: a path, or a picture in memory.
        asked: what the user says besides; may be empty.
        answer: the assistant's turn.
        where: the sample's origin.
        kinds: its type, if known.
        answers: what people answered, if known.
    """
    content: tuple[Part, ...] = (MediaPart("image", image), *([TextPart(asked)] if asked else []))
    messages = (Message("user", content), Message("assistant", (TextPart(answer),)))
    return Sample(name, messages, where, kinds, (answers,) if answers else ())


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        yield where, parse(line, where)


def _items(path: Path) -> Iterator[tuple[str, Any]]:
    items = parse(decode(file_bytes(path), str(path)), str(path))
    if not isinstance(items, list):
        raise DataError(f"{path}: expected a JSON list of records, got {_name(items)}")
    yield from ((f"{path}, item {index}", item) for index, item in enumerate(items))


def _name(value: object) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null"}.get(type(value), shown(value))
