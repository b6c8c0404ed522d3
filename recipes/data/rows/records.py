"""Reads tables: a JSON list of objects, or one object a line, with errors that name file, place and field.

A list is parsed item by item, so that the parsed file is never in memory as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from json import JSONDecoder
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, Part, TextPart
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import decode, file_bytes, parse, text
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = [
    "MAX_LINE_BYTES",
    "described",
    "filled",
    "head_of",
    "json_lines",
    "json_name",
    "numbered_lines",
    "objects",
    "records",
    "table",
    "whole",
]

MAX_LINE_BYTES = 1 << 24
"""The longest line that is accepted: 16 MiB."""

_HEAD = 1 << 20
_SPACE = re.compile(r"\s*")

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
    """The objects of a JSON list, or of JSON lines; :func:`json_lines` decides which.

    Args:
        path: the file.
        offenders: collects lines and items that are not objects.

    Raises:
        DataError: another shape, or no objects.
    """
    offenders, count = offenders or Offenders(), 0
    for where, item in _lines(path) if json_lines(path) else _items(path):
        count += 1
        with offenders.row(where):
            value = parse(item, where) if isinstance(item, str) else item.value
            if not isinstance(value, dict):
                raise DataError(f"{where}: expected an object, got {json_name(value)}")
        if isinstance(value, dict):
            yield where, value
    if not count:
        raise DataError(f"{path}: expected at least one record, got none")


def head_of(path: Path) -> str:
    """The first MiB of a text file, without white space in front.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_HEAD).decode("utf-8-sig", errors="ignore").lstrip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def json_lines(path: Path) -> bool:
    """Whether a file has one JSON object a line: its name ends in ``.jsonl``, or a second object follows the first.

    POPE's ``coco_pope_random.json`` is such a file.

    Raises:
        DataError: the file cannot be read.
    """
    if path.suffix.lower() == ".jsonl":
        return True
    lines = head_of(path).split("\n", 1)
    if len(lines) < 2 or not lines[0].startswith("{") or not lines[1].lstrip().startswith("{"):
        return False
    with suppress(ValueError, RecursionError):
        return isinstance(JSONDecoder().decode(lines[0]), dict)
    return False


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
    image: Any,
    asked: str,
    answer: str,
    where: str,
    *,
    kinds: tuple[str, ...] = (),
    answers: tuple[str, ...] = (),
) -> Sample:
    """A sample of one question: a picture, optional text, and the answer.

    Args:
        name: the sample's id.
        image: a path, or a picture in memory.
        asked: the user's text beside the picture; may be empty.
        answer: the assistant's text.
        where: the sample's origin.
        kinds: the question's type, if known.
        answers: human answers, if known.
    """
    content: tuple[Part, ...] = (MediaPart("image", image), *([TextPart(asked)] if asked else []))
    messages = (Message("user", content), Message("assistant", (TextPart(answer),)))
    return Sample(name, messages, where, kinds, (answers,) if answers else ())


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not empty, with their numbers from 1.

    Raises:
        DataError: the file cannot be read, or a line is too long or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(raw) > MAX_LINE_BYTES:
                    raise DataError(f"{path}, line {number}: expected at most {MAX_LINE_BYTES:,} bytes in a line")
                line = decode(raw, f"{path}, line {number}")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


@dataclass(frozen=True, slots=True)
class _Parsed:
    value: Any


def _lines(path: Path) -> Iterator[tuple[str, str | _Parsed]]:
    yield from ((f"{path}, line {number}", line) for number, line in numbered_lines(path))


def _items(path: Path) -> Iterator[tuple[str, str | _Parsed]]:
    """The items of a list, parsed one by one."""
    held = decode(file_bytes(path), str(path))
    place = _SPACE.match(held, 0).end()  # type: ignore[union-attr]  # matches everywhere
    if held[place : place + 1] != "[":
        found = parse(held, str(path))
        raise DataError(f"{path}: expected a JSON list of records, got {json_name(found)}")
    scan, index, after = JSONDecoder().raw_decode, 0, "["
    place = _SPACE.match(held, place + 1).end()  # type: ignore[union-attr]
    if held[place : place + 1] == "]":
        after, place = "]", place + 1
    while after != "]":
        try:
            value, place = scan(held, place)
        except (ValueError, RecursionError):
            parse(held, str(path))  # its error has the position
            raise
        yield f"{path}, item {index}", _Parsed(value)
        index += 1
        place = _SPACE.match(held, place).end()  # type: ignore[union-attr]
        after = held[place : place + 1]
        if after not in (",", "]") or not after:
            parse(held, str(path))
            raise DataError(f"{path}: not JSON: expected ',' or ']' after item {index - 1}")
        place = _SPACE.match(held, place + 1).end()  # type: ignore[union-attr]
    if held[place:].strip():
        parse(held, str(path))


def json_name(value: object) -> str:
    """The type of a JSON value in words, or the value itself if it is short."""
    return {dict: "an object", list: "a list", str: "text", type(None): "null"}.get(type(value), shown(value))
