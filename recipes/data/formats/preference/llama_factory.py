"""LLaMA-Factory's preference rows (https://github.com/hiyouga/LLaMA-Factory, data/README.md).

ShareGPT: ``conversations`` up to the question, and the answers ``chosen`` and ``rejected``, ``{"from": "gpt", "value":
...}``. Alpaca: ``instruction``, ``input``, and texts under ``chosen`` and ``rejected``. A row with ``kto_tag``, true or
false, is a single answer. Media are placed as in the formats without preferences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.hub.safety.text import shown
from inlay.recipes.data.formats import llava
from inlay.recipes.data.formats.chat import alpaca
from inlay.recipes.data.formats.preference.build import compared
from inlay.recipes.data.rows.fields import text
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["recognise_alpaca", "recognise_sharegpt", "sample_alpaca", "sample_sharegpt"]

_OWN = ("chosen", "rejected", "kto_tag")


def recognise_sharegpt(first: Mapping[str, Any]) -> bool:
    """Whether a conversation has two further answers, or a label."""
    return "conversations" in first and _preferring(first)


def recognise_alpaca(first: Mapping[str, Any]) -> bool:
    """Whether an instruction has two answers, or one with a label."""
    return "instruction" in first and _preferring(first)


def _preferring(first: Mapping[str, Any]) -> bool:
    return ("chosen" in first and "rejected" in first) or "kto_tag" in first


def sample_sharegpt(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row of conversations.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    plain = {name: value for name, value in row.items() if name not in _OWN}
    if row.get("kto_tag") is not None:
        return _labelled(row, llava.sample(plain, root, where, offenders), where)
    better, worse = (_value(row.get(field), f"{where}, {field}") for field in ("chosen", "rejected"))
    turns = row.get("conversations")
    if not isinstance(turns, (list, tuple)) or not turns:
        raise DataError(f"{where}, conversations: expected a list of turns, got {shown(turns)}")
    plain["conversations"] = [*turns, {"from": "gpt", "value": better}]
    return _pair(llava.sample(plain, root, where, offenders), worse, where)


def sample_alpaca(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row of an instruction.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    plain = {name: value for name, value in row.items() if name not in _OWN}
    if row.get("kto_tag") is not None:
        return _labelled(row, alpaca.sample(plain, root, where, offenders), where)
    plain["output"] = filled(row, "chosen", where)
    return _pair(alpaca.sample(plain, root, where, offenders), filled(row, "rejected", where), where)


def _value(turn: Any, where: str) -> str:
    """The text of an answer, an object or a text."""
    if isinstance(turn, Mapping):
        role = turn.get("from", turn.get("role"))
        if role not in ("gpt", "assistant"):
            raise DataError(f"{where}, from: expected gpt, got {shown(role)}")
        turn, where = turn.get("value", turn.get("content")), f"{where}, value"
    said = text(turn, where)
    if not said.strip():
        raise DataError(f"{where}: the answer is empty; leave the row out")
    return said


def _pair(better: Sample, worse: str, where: str) -> Sample:
    return compared(better, (*better.messages[:-1], Message("assistant", (TextPart(worse),))), where)


def _labelled(row: Mapping[str, Any], sample: Sample, where: str) -> Sample:
    if not isinstance(row["kto_tag"], bool):
        raise DataError(f"{where}, kto_tag: expected true (a good answer) or false, got {shown(row['kto_tag'])}")
    if not sample.messages[-1].text.strip():
        raise DataError(f"{where}: the last answer is empty; leave the row out")
    return replace(sample, desirable=row["kto_tag"])
