"""JSON lists and JSON lines as a table: the positions of the rows, and the file itself.

A row is read with ``pread`` and parsed on access. So memory holds 12 to 16 bytes a row, processes share the pages of
the file, and a file that is cut while it is read gives an error instead of a crash.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import decode, file_bytes, parse
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.rows.tables.base import Index, Row, state_of

__all__ = ["MAX_LINE_BYTES", "JsonTable", "json_name"]

MAX_LINE_BYTES = 1 << 24
"""The longest line that is accepted: 16 MiB."""

_BLOCK = 1 << 20
_TOKEN = 16
"""Longer than an escape sequence or a constant of JSON."""
_SPACE = re.compile(r"\s*")
_DECODER = JSONDecoder()


class JsonTable:
    """A JSON list of objects, or one object a line.

    Args:
        path: the file.
        name: its name in errors; the path if not given.
        lines: whether the file has one object a line.
    """

    _file = -1

    def __init__(self, path: Path, *, lines: bool, name: str = "") -> None:
        self.path, self.name, self.lines = path, name or str(path), lines
        self._index: Index = {}
        self._state = state_of(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.path, self.lines, self.name, self._index, self._state)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    @property
    def index(self) -> Index:
        """``start`` and ``size`` of each row in bytes; ``line`` for JSON lines."""
        return self._index

    def restore(self, index: Index) -> None:
        """Take the positions of the rows from an earlier process."""
        self._index = index

    def __len__(self) -> int:
        return len(self._index["start"])

    def where(self, row: int) -> str:
        """The place of a row: ``item`` from 0, or ``line`` from 1."""
        return f"{self.name}, line {self._index['line'][row]}" if self.lines else f"{self.name}, item {row}"

    def take(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Some rows, in the given order.

        Raises:
            DataError: the file has changed since its rows were counted.
        """
        if self._file < 0:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            if state_of(self.path) != self._state:
                raise DataError(f"{self.name}: the file has changed since it was checked; start again")
        starts, sizes = self._index["start"], self._index["size"]
        return [self._row(row, int(starts[row]), int(sizes[row])) for row in rows]

    def _row(self, row: int, start: int, size: int) -> dict[str, Any]:
        data = os.pread(self._file, size, start)
        try:
            value = _DECODER.decode(data.removeprefix(codecs.BOM_UTF8).decode())
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise DataError(f"{self.where(row)}: the file has changed since it was checked; start again")
        return value

    def state(self) -> list[Any]:
        """The file's identity, size and times."""
        return [self.lines, *self._state]

    def digest(self) -> str:
        """SHA-256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def stream(self) -> Iterator[Row]:
        """All rows in order.

        Raises:
            DataError: the file is not JSON, not UTF-8, or holds something else than records.
        """
        starts, sizes, numbers = array("q"), array("I"), array("I")
        for number, start, size, value in self._lines() if self.lines else self._items():
            starts.append(start)
            sizes.append(size)
            where = f"{self.name}, item {number}"
            if self.lines:
                numbers.append(number)
                where = f"{self.name}, line {number}"
            if isinstance(value, bytes):
                value = _parsed(value, where)
            if not isinstance(value, (dict, DataError)):
                value = DataError(f"{where}: expected an object, got {json_name(value)}")
            yield where, value
        if not starts:
            raise DataError(f"{self.name}: expected at least one record, got none")
        self._index = {"start": np.frombuffer(starts, np.int64), "size": np.frombuffer(sizes, np.uint32)}
        if self.lines:
            self._index["line"] = np.frombuffer(numbers, np.uint32)

    def _lines(self) -> Iterator[tuple[int, int, int, Any]]:
        for number, start, raw in _raw_lines(self.path, self.name):
            if not raw.isspace():
                yield number, start, len(raw), raw

    def _items(self) -> Iterator[tuple[int, int, int, Any]]:
        """Number, start, size and value of each item, parsed one by one.

        The last value is an error if the list cannot be read from there on, as in a file that was not downloaded to its
        end; a list without a whole item in front of the fault is an error of the file.
        """
        index = 0
        try:
            with self.path.open("rb") as file:
                text = _Text(file)
                if text.next_character() != "[":
                    self._fail()
                text.advance(text.place + 1)
                after = text.next_character()
                if after == "]":
                    text.advance(text.place + 1)
                while after != "]":
                    text.next_character()
                    start = text.byte
                    value = text.value()
                    yield index, start, text.byte - start, value
                    after, index = text.next_character(), index + 1
                    if after not in (",", "]") or not after:
                        raise ValueError("Expecting ',' delimiter") if after else _CutError
                    text.advance(text.place + 1)
                if text.next_character():
                    raise ValueError("Extra data")
        except OSError as error:
            raise DataError(f"{self.name}: cannot be read: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:
            if not index:
                self._fail()
            where, byte = f"{self.name}, item {index}", text.byte
            yield (
                index,
                byte,
                0,
                DataError(f"{where}: {_fault(error)} (from byte {byte:,} on); no later item can be read"),
            )

    def _fail(self) -> NoReturn:
        """Raise the error of the whole file, which has the position of the fault."""
        found = parse(decode(file_bytes(self.path), self.name), self.name)
        raise DataError(f"{self.name}: expected a JSON list of records, got {json_name(found)}")


class _CutError(ValueError):
    """The file ends inside of a value or of the list."""


def _fault(error: BaseException) -> str:
    """Why a list cannot be read to its end."""
    if isinstance(error, _CutError) or getattr(error, "reason", "") == "unexpected end of data":
        return "not JSON: the file ends inside of the list; it may be incomplete, so fetch it again"
    if isinstance(error, RecursionError):
        return "the JSON is too deeply nested"
    return f"not JSON: {getattr(error, 'msg', str(error))}"


class _Text:
    """A part of a UTF-8 file as text, with the position of one character in it and in the file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.text, self.place, self.ended, self.block = file, "", 0, False, _BLOCK
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.byte = 3 if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(self.byte)

    def more(self) -> bool:
        """Read another block, and forget the text before the position; False at the end of the file."""
        if self.ended:
            return False
        data = self.file.read(self.block)
        self.ended = not data
        self.text = self.text[self.place :] + self.decoder.decode(data, final=self.ended)
        self.place = 0
        return True

    def advance(self, place: int) -> None:
        """Go to a later character."""
        passed = place - self.place
        self.byte += passed if self.text.isascii() else len(self.text[self.place : place].encode())
        self.place = place

    def next_character(self) -> str:
        """Go to the next character that is not white space, and return it; empty at the end of the file."""
        while True:
            if self.place < len(self.text) and not self.text[self.place].isspace():
                return self.text[self.place]
            self.advance(_SPACE.match(self.text, self.place).end())  # type: ignore[union-attr]  # matches everywhere
            if self.place < len(self.text):
                return self.text[self.place]
            if not self.more():
                return ""

    def value(self) -> Any:
        """Parse the value at the position, and go behind it.

        Raises:
            ValueError: no JSON value, a :class:`_CutError` if the file ends in it.
        """
        self.block = _BLOCK
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.place)
                if end < len(self.text) or self.ended:  # A number may continue in the next block.
                    self.advance(end)
                    return value
            except JSONDecodeError as error:
                # Only an error at the end of the text, or a string without its end, may come from the missing rest.
                if error.pos < len(self.text) - _TOKEN and not error.msg.startswith("Unterminated string"):
                    raise
                if self.ended:
                    rest = self.text[error.pos :].strip()
                    raise (_CutError() if not rest or rest.isalnum() or rest[0] == '"' else error) from None
            self.block = max(_BLOCK, len(self.text))  # so that a long row is parsed a few times only
            self.more()


def _parsed(line: bytes, where: str) -> Any:
    """The value of a line, or the error."""
    try:
        return _DECODER.decode(line.removeprefix(codecs.BOM_UTF8).decode())
    except (ValueError, RecursionError):
        try:
            return parse(decode(line, where), where)
        except DataError as error:
            return error


def json_name(value: object) -> str:
    """The type of a JSON value in words, or the value itself if it is short."""
    return {dict: "an object", list: "a list", str: "text", type(None): "null"}.get(type(value), shown(value))


def _raw_lines(path: Path, name: str) -> Iterator[tuple[int, int, bytes]]:
    """Number from 1, start and bytes of each line."""
    try:
        with path.open("rb") as file:
            number, start = 0, 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(raw) > MAX_LINE_BYTES:
                    raise DataError(f"{name}, line {number}: expected at most {MAX_LINE_BYTES:,} bytes in a line")
                yield number, start, raw
                start += len(raw)
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from None


def _restored(path: Path, lines: bool, name: str, index: Index, state: list[int]) -> JsonTable:
    table = JsonTable(path, lines=lines, name=name)
    table._index, table._state = index, state
    return table
