"""POVID's data set (Zhou et al., 2024, https://arxiv.org/abs/2402.11411): LLaVA's rows with a second conversation.

``{"id", "image", "conversations": [human, gpt], "rejected_conversations": [human, gpt]}``; hallucinations were written
into the second answer. Both conversations are read by the rules of LLaVA's format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.hub.safety.text import shown
from inlay.recipes.data.formats import llava
from inlay.recipes.data.formats.preference.build import compared
from inlay.recipes.data.rows.fields import ANNOTATIONS
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["recognise", "sample"]

_FIELD = "rejected_conversations"


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a conversation has a rejected one beside it."""
    return "conversations" in first and _FIELD in first


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    turns = row.get(_FIELD)
    if not isinstance(turns, (list, tuple)) or not turns:
        raise DataError(f"{where}, {_FIELD}: expected a list of turns, got {shown(turns)}")
    plain = {name: value for name, value in row.items() if name != _FIELD}
    better = llava.sample(plain, root, where, offenders)
    other = {name: value for name, value in plain.items() if name not in ANNOTATIONS} | {"conversations": turns}
    worse = llava.sample(other, root, f"{where}, {_FIELD}", Offenders()).messages
    return compared(better, worse, where, ("conversations", _FIELD))
