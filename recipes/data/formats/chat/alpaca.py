"""LLaMA-Factory's alpaca rows (https://github.com/hiyouga/LLaMA-Factory, data/README.md).

``{"instruction": ..., "input": ..., "output": ..., "system": ..., "history": [[question, answer], ...]}``; the user's
text is the instruction and, on a new line, the input. ``images``, ``videos`` and ``audios`` are placed at the markers
``<image>`` and so on. The answers of the history are trained as well, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.recipes.data.formats.chat.conversation import conversation, dialogue
from inlay.recipes.data.rows.fields import text
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import Sample

__all__ = ["recognise", "sample"]

_READ = ("instruction", "input", "output", "history")


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has an instruction and an output; ModaVerse's rows have an instruction alone."""
    return "instruction" in first and "output" in first


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row.

    Raises:
        DataError: a field that is missing, of the wrong type, or not read.
    """
    asked = [text(row.get("instruction"), f"{where}, instruction")]
    if row.get("input") is not None:
        asked.append(text(row["input"], f"{where}, input"))
    answer = text(row.get("output"), f"{where}, output")
    turns = dialogue(row.get("history"), "\n".join(filter(None, asked)), answer, where)
    return conversation(row, turns, root, where, offenders, field="instruction", read=_READ)
