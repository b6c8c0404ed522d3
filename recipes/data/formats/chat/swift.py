"""ms-swift's rows of a query and its response.

https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html: ``{"query": ..., "response": ..., "history":
[[query, response], ...], "system": ...}``, or ``{"conversation": [{"human": ..., "assistant": ...}, ...], "system":
...}``, with ``images``, ``audios`` and ``videos`` at the markers ``<image>`` and so on. Its rows of ``messages`` are
read by :mod:`~inlay.recipes.data.formats.jsonl`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.chat.conversation import conversation, dialogue
from inlay.recipes.data.rows.fields import text
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["recognise", "sample"]

_READ = ("query", "response", "history", "conversation")


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has a query with a response, or pairs of ``human`` and ``assistant``."""
    turns = first.get("conversation")
    turn = turns[0] if isinstance(turns, list) and turns else None
    return ("query" in first and "response" in first) or (isinstance(turn, Mapping) and "human" in turn)


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row.

    Raises:
        DataError: a field that is missing, of the wrong type, or not read.
    """
    if row.get("objects"):
        raise DataError(f"{where}, objects: boxes of objects (ms-swift's grounding) are not read; leave the row out")
    if row.get("conversation") is not None:
        pairs = _pairs(row["conversation"], where)
        history, (asked, answer) = pairs[:-1], pairs[-1]
    else:
        history = row.get("history") or []
        asked, answer = (text(row.get(field), f"{where}, {field}") for field in ("query", "response"))
    turns = dialogue(history, asked, answer, where)
    return conversation(row, turns, root, where, offenders, field="query", read=_READ)


def _pairs(turns: Any, where: str) -> list[tuple[str, str]]:
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{where}, conversation: expected a list of turns, got {shown(turns)}")
    pairs = []
    for number, turn in enumerate(turns):
        at = f"{where}, turn {number}"
        if not isinstance(turn, Mapping):
            raise DataError(f"{at}: expected an object with 'human' and 'assistant', got {shown(turn)}")
        pairs.append((text(turn.get("human"), f"{at}, human"), text(turn.get("assistant"), f"{at}, assistant")))
    return pairs
