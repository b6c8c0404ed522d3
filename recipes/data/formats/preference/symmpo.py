"""SymMPO's rows (Liu et al., 2025, https://arxiv.org/abs/2506.11712): a pair, and a similar picture with its answer.

``{"question", "image_1", "image_2", "w", "l", "y2"}``: ``w`` is the better and ``l`` the worse answer about the first
picture, ``y2`` the right one about the second. Losses on pairs alone ignore the second picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inlay.recipes.data.formats.chat.conversation import conversation
from inlay.recipes.data.formats.preference.build import answer, pair, user, with_picture
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["recognise", "sample"]

_FIELDS = ("image_1", "image_2", "w", "l", "y2")


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has two pictures and three answers."""
    return set(_FIELDS) <= first.keys()


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read; or equal pictures.
    """
    asked = "question" if row.get("question") is not None or row.get("prompt") is None else "prompt"
    prompt = user(filled(row, asked, where))
    chosen, rejected, second = (answer(row, field, where) for field in ("w", "l", "y2"))
    plain = {name: value for name, value in row.items() if name not in ("image_1", "image_2")}
    first, other = (
        with_picture(plain | {field: row.get(field)}, (field,), root, where) for field in ("image_1", "image_2")
    )
    read = ("question", "prompt", *_FIELDS)
    found = pair(first, prompt, chosen, rejected, root, where, offenders, read=read, fields=("w", "l"))
    similar = conversation(other, [*prompt, *second], root, where, Offenders(), field="y2", read=read).messages
    if similar[:-1] == found.messages[:-1]:
        raise DataError(f"{where}, image_2: the same picture as image_1; leave the row out")
    return replace(found, similar=similar)
