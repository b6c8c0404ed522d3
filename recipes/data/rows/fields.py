"""Checks of the fields that the JSON formats share."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from json import JSONDecoder
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import Message
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["ANNOTATIONS", "annotated", "decode", "file_bytes", "identity", "needed", "parse", "text", "text_list"]


ANNOTATIONS = ("types", "answers", "description")
"""Optional fields that :func:`annotated` reads."""


def file_bytes(path: Path) -> bytes:
    """Read a whole file.

    Raises:
        DataError: the file does not exist or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def decode(data: bytes, where: str) -> str:
    r"""Decode UTF-8, with or without a byte-order mark.

    Example:
        >>> decode(b"caf\xe9", "train.json")
        Traceback (most recent call last):
        inlay.recipes.data.rows.sample.DataError: train.json: expected UTF-8, got an invalid byte at position 3
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected UTF-8, got an invalid byte at position {error.start}") from None


def parse(data: str, where: str) -> Any:
    """Parse a JSON value.

    Example:
        >>> parse("[1, 2", "a.json")
        Traceback (most recent call last):
        inlay.recipes.data.rows.sample.DataError: a.json: not JSON: Expecting ',' delimiter: line 1 column 6 (char 5)
    """
    if not data.strip():
        raise DataError(f"{where}: empty, expected JSON")
    try:
        return JSONDecoder().decode(data)
    except RecursionError:
        raise DataError(f"{where}: the JSON is too deeply nested") from None
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}") from None


def text(value: object, where: str) -> str:
    """Check that a value is a string that UTF-8 can encode, as tokenizers require.

    Example:
        >>> text(None, "train.json, item 0, value")
        Traceback (most recent call last):
        inlay.recipes.data.rows.sample.DataError: train.json, item 0, value: expected text, got None
    """
    if not isinstance(value, str):
        raise DataError(f"{where}: expected text, got {shown(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            at = error.start
            raise DataError(f"{where}: expected characters, got an unpaired surrogate at position {at}") from None
    return value


def needed(item: Mapping[str, Any], name: str, where: str) -> Any:
    """The value of the field that holds the conversation of a row.

    Raises:
        DataError: the row does not have the field, as in a file that is in another format, or in several.

    Example:
        >>> needed({"question": "why?", "label": "so"}, "conversations", "a.jsonl, line 1")
        Traceback (most recent call last):
        inlay.recipes.data.rows.sample.DataError: a.jsonl, line 1: expected the field conversations, got question, ...
    """
    if name not in item:
        fields = shown(", ".join(map(str, item)), limit=200).strip("'") or "no field"
        near = get_close_matches(name, [str(field) for field in item], n=1, cutoff=0.8)
        columns = f"--data.columns {name}={near[0]}" if near else "--data.columns"
        raise DataError(
            f"{where}: expected the field {name}, got {fields}; give the names of other columns ({columns}), name "
            'another format (--data.format), or split a file of several formats (--data.mix); the page "Data" of the '
            "documentation shows rows of every format"
        )
    return item[name]


def identity(item: Mapping[str, Any], where: str) -> str:
    """The sample's id: text, or an integer as text; without an id, its place in the file.

    Example:
        >>> identity({"id": 7}, "train.json, item 0"), identity({}, "train.json, item 0")
        ('7', 'item-0')
    """
    value = item.get("id")
    if value is None:
        value = where.rpartition(", ")[2].replace(" ", "-")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise DataError(f"{where}, id: expected text or an integer, got {shown(value)}")
    return text(value, f"{where}, id")


def text_list(value: object, where: str) -> list[str]:
    """The texts of a field, such as paths or captions: none, one, or a list.

    Example:
        >>> text_list(None, ""), text_list("1.png", ""), text_list(["1.png", "2.png"], "")
        ([], ['1.png'], ['1.png', '2.png'])
    """
    if value is None:
        return []
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: expected text or a list of texts, got {shown(value)}")
    return [text(name, where) for name in names]


def annotated(item: Mapping[str, Any], name: str, messages: tuple[Message, ...], where: str) -> Sample:
    """A sample with the optional fields ``types``, ``answers`` and ``description``.

    Raises:
        DataError: a field of the wrong type, or with more or fewer entries than turns of the assistant.
    """
    if item.keys().isdisjoint(ANNOTATIONS):
        return Sample(name, messages, where)
    turns = sum(message.role == "assistant" for message in messages)
    described = item.get("description")
    description = "" if described is None else text(described, f"{where}, description")
    return Sample(name, messages, where, _kinds(item, turns, where), _answers(item, turns, where), description)


def _kinds(item: Mapping[str, Any], turns: int, where: str) -> tuple[str, ...]:
    value = item.get("types")
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) != turns:
        raise DataError(f"{where}, types: expected a list of {turns}, one for each answer, got {shown(value)}")
    return tuple(text(kind, f"{where}, types") for kind in value)


def _answers(item: Mapping[str, Any], turns: int, where: str) -> tuple[tuple[str, ...], ...]:
    """Human answers: one list for the last turn, or a list of lists, one for each turn."""
    value = item.get("answers")
    if value is None:
        return ()
    where = f"{where}, answers"
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: expected a list of answers or a list of such lists, got {shown(value)}")
    rows = value if isinstance(value[0], list) else [[]] * (turns - 1) + [value]
    if len(rows) != turns:
        raise DataError(f"{where}: expected {turns} lists, one for each answer, got {len(rows)}")
    if not all(isinstance(row, list) for row in rows):
        raise DataError(f"{where}: expected only lists or only texts, got a mixture")
    return tuple(tuple(text(answer, where) for answer in row) for row in rows)
