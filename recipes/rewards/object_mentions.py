"""The object classes that a text mentions, for the reward ``objects``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from inlay.recipes.rewards.registry import RewardError

__all__ = ["mentioned", "read_classes"]


def read_classes(path: Path) -> dict[str, str]:
    """Word or phrase -> class, from a file with one class a line: ``class, synonym, synonym``, as in CHAIR.

    Raises:
        RewardError: the file cannot be read or names no class, or a word belongs to two classes.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RewardError(f"objects: {path}: expected a text file, one class a line: {error}") from error
    rows = [[" ".join(word.lower().split()) for word in line.split(",") if word.strip()] for line in lines]
    classes: dict[str, str] = {}
    for row in filter(None, rows):
        for word in row:
            if classes.setdefault(word, row[0]) != row[0]:
                raise RewardError(f"objects: {path}: {word!r} is in {classes[word]!r} and in {row[0]!r}; keep one")
    if not classes:
        raise RewardError(f"objects: {path}: expected at least one class, got none")
    return classes


def mentioned(text: str, classes: Mapping[str, str]) -> list[str]:
    """The class of each mention, in order; the longest phrase counts, and a plural in ``s`` or ``es``.

    Example:
        >>> mentioned("Two dogs and a hot dog.", {"dog": "dog", "hot dog": "hot dog"})
        ['dog', 'hot dog']
    """
    words = " ".join(text.lower().split())
    return [classes[found[1]] for found in _pattern(tuple(classes)).finditer(words)]


@lru_cache(maxsize=8)
def _pattern(names: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?:s|es)?(?!\w)")
