"""Strict JSON (RFC 8259): UTF-8, no duplicate keys, finite numbers, bounded size, depth and number of keys.

Python's own reader accepts ``NaN``, keeps the last of two equal keys, and recurses as deep as the text is nested.
Size and depth are checked before parsing, keys while parsing, so time and memory are linear in the size of the text.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import Any, NoReturn

from inlay.hub.errors import BundleError
from inlay.hub.safety.text import shown

__all__ = ["MAX_DEPTH", "MAX_JSON_BYTES", "MAX_KEYS", "dump_object", "read_object"]

MAX_JSON_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_KEYS = 1 << 15
"""Limit on the keys of all objects together; a safetensors header of 4,096 tensors has half as many."""
_MAX_DIGITS = 19
# Matches a whole string (closed or not) or one bracket, so that brackets inside strings do not count as nesting.
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


def read_object(data: bytes, file: str, *, max_bytes: int = MAX_JSON_BYTES, max_keys: int = MAX_KEYS) -> dict[str, Any]:
    """Parse one JSON object.

    Args:
        data: the bytes of the file.
        file: its name, for the error.
        max_bytes: a larger file is refused before it is parsed.
        max_keys: limit on the keys of all objects together.

    Raises:
        BundleError: too large, too deep, too many keys, not UTF-8, a byte-order mark, not JSON, not an object, a
            duplicate key, or a number that is not finite or has more than 19 digits.

    Example:
        >>> read_object(b'{"a": 1}', "x.json")
        {'a': 1}
    """
    if len(data) > max_bytes:
        raise BundleError(file, f"expected at most {max_bytes} bytes of JSON, got {len(data)}")
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BundleError(file, "expected UTF-8 without a byte-order mark; save it again as plain UTF-8")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(file, f"expected UTF-8, got an invalid byte at position {error.start}") from None
    if _depth(text) > MAX_DEPTH:
        raise BundleError(file, f"expected at most {MAX_DEPTH} levels of nesting")

    keys = 0

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal keys
        keys += len(items)
        if keys > max_keys:
            raise BundleError(file, f"expected at most {max_keys} keys in all objects together")
        result: dict[str, Any] = {}
        for key, value in items:
            if key in result:
                raise BundleError(file, "the same key occurs twice in one object", field=shown(key))
            result[key] = value
        return result

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise BundleError(file, f"expected a finite number, got {shown(text)}")
        return value

    def integer(text: str) -> int:
        if len(text.lstrip("-")) > _MAX_DIGITS:
            raise BundleError(file, f"expected an integer of at most {_MAX_DIGITS} digits, got {shown(text)}")
        return int(text)

    def constant(text: str) -> NoReturn:
        raise BundleError(file, f"expected a finite number, got {text}")

    try:
        value = json.loads(
            text, object_pairs_hook=pairs, parse_float=number, parse_int=integer, parse_constant=constant
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails for a lone surrogate such as \ud800
    except json.JSONDecodeError as error:
        what = "the file is empty" if not text.strip() else f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise BundleError(file, f"expected a JSON object; {what}") from None
    except UnicodeEncodeError:
        raise BundleError(file, "expected Unicode text, got half of a surrogate pair in a string") from None
    if not isinstance(value, dict):
        raise BundleError(file, f"expected a JSON object, got {type(value).__name__}")
    return value


def dump_object(value: dict[str, Any]) -> bytes:
    r"""Write JSON as bytes; equal values give equal bytes: sorted keys, two spaces, UTF-8, one newline at the end.

    Example:
        >>> dump_object({"b": 1, "a": "\u00e9"}).decode()
        '{\n  "a": "é",\n  "b": 1\n}\n'
    """
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        first = match.group()[0]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in "]}":
            depth -= 1
    return deepest
