"""align-anything's preference rows (https://github.com/PKU-Alignment/align-anything, ``configs/format_dataset.py``).

``{"question", "image", "response_1", "response_2", "overall_response": "1" or "2"}``; the last field names the better
answer. Rows whose answers are judged equal (0, tie, equal) give no pair; their number is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.preference.build import answer, pair, user
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["recognise", "sample"]

_ANSWERS = ("response_1", "response_2")
_READ = ("question", "prompt", *_ANSWERS, "overall_response")
_EQUAL = ("0", "tie", "equal")


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has two responses and the better one's number."""
    return {*_ANSWERS, "overall_response"} <= first.keys()


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample | Sequence[Sample]:
    """One row, which gives no pair if its answers are equally good.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    held = row.get("overall_response")
    best = held if isinstance(held, str) else str(int(held)) if isinstance(held, (int, float)) else ""
    if best.strip().lower() in _EQUAL:
        offenders.note("have equally good answers: they give no pair", where)
        return ()
    if best.strip() not in ("1", "2"):
        raise DataError(f"{where}, overall_response: expected 1, 2 or 0 (equal), got {shown(held)}")
    asked = "question" if row.get("question") is not None or row.get("prompt") is None else "prompt"
    fields = _ANSWERS if best.strip() == "1" else (_ANSWERS[1], _ANSWERS[0])
    chosen, rejected = (answer(row, field, where) for field in fields)
    prompt = user(filled(row, asked, where))
    return pair(row, prompt, chosen, rejected, root, where, offenders, read=_READ, fields=fields)
