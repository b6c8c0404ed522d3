"""Brace expansion of file names, as in a shell: ``shard-{000..127}.tar``, ``{train,val}.tar``."""

from __future__ import annotations

import re
from itertools import product

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.sample import DataError

__all__ = ["MAX_NAMES", "expand_braces"]

MAX_NAMES = 1_000_000
"""The most names that one pattern may expand to."""

_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")


def expand_braces(word: str) -> list[str]:
    """All names that a pattern expands to; the last braces vary fastest.

    Args:
        word: the pattern. Braces contain an ascending range of numbers, padded as written, or a list with commas;
            nested braces are not supported.

    Raises:
        DataError: unbalanced or nested braces, other contents, a descending range, or more than a million names.

    Example:
        >>> expand_braces("{a,b}-{08..10}.tar")
        ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    pieces = re.split(r"\{([^{}]*)\}", word)
    if any("{" in plain or "}" in plain for plain in pieces[::2]):
        raise DataError(f"{shown(word)}: expected balanced braces that are not nested")
    count = 1
    choices: list[list[str]] = []
    for place, piece in enumerate(pieces):
        options = _options(piece, word) if place % 2 else [piece]
        count *= len(options)
        if count > MAX_NAMES:
            raise DataError(f"{shown(word)}: expands to more than {MAX_NAMES:,} names")
        choices.append(options)
    return ["".join(chosen) for chosen in product(*choices)]


def _options(inside: str, word: str) -> list[str]:
    match = _RANGE.fullmatch(inside)
    if match is None:
        if "," not in inside:
            raise DataError(f"{shown(word)}: expected a range {{00..31}} or a list {{a,b}}, got {shown(inside)}")
        return inside.split(",")
    low, high = int(match[1]), int(match[2])
    if not low <= high < low + MAX_NAMES:
        raise DataError(f"{shown(word)}: expected an ascending range of at most {MAX_NAMES:,} numbers, got {inside}")
    padded = any(len(end) > 1 and end.startswith("0") for end in match.groups())
    width = max(map(len, match.groups())) if padded else 1
    return [f"{number:0{width}d}" for number in range(low, high + 1)]
