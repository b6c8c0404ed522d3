"""Words in and words out as the BLIP family is evaluated with them: pure functions from text to text.

BLIP-2 and InstructBLIP ask in lower case without most punctuation (``blip_question`` of the published code); MiniGPT-4
cuts what it gets at ``###`` and behind the last ``Assistant:``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["after_last", "blip_caption", "blip_question", "cut_at"]

_MARKS = re.compile(r"[.!\"()*#:;~]")
_SPACES = re.compile(r"\s{2,}")


def blip_question(text: str, words: int = 50) -> str:
    """A question in lower case, without ``.!"()*#:;~``, of at most so many words.

    Example:
        >>> blip_question('How many "cats" are there (in total)?')
        'how many cats are there in total?'
    """
    return _first(_MARKS.sub("", text.lower()).rstrip(" "), words)


def blip_caption(text: str, words: int = 50) -> str:
    """A caption in lower case, the same marks turned into spaces, runs of spaces into one.

    Example:
        >>> blip_caption("Two cats. On a sofa!")
        'two cats on a sofa'
    """
    spaced = _SPACES.sub(" ", _MARKS.sub(" ", text.lower()))
    return _first(spaced.rstrip("\n").strip(" "), words)


def cut_at(text: str, marks: Iterable[str]) -> str:
    """What stands in front of the first of the marks, or everything.

    Example:
        >>> cut_at("two cats###Human: and", ["###", "</s>"])
        'two cats'
    """
    for mark in marks:
        text = text.split(mark, 1)[0]
    return text


def after_last(text: str, mark: str) -> str:
    """What stands behind the last mark; everything if there is none, or no mark is given.

    Example:
        >>> after_last("Assistant: well, Assistant: two", "Assistant:")
        ' two'
    """
    return text.rpartition(mark)[2] if mark else text


def _first(text: str, words: int) -> str:
    parts = text.split(" ")
    return " ".join(parts[:words]) if len(parts) > words else text
