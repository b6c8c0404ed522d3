"""The 10k rows on which mDPO trains (Wang et al., 2024, https://arxiv.org/abs/2406.11839), from VLFeedback.

``{"img_path": ..., "prompt": "<image> What is this?", "chosen": ..., "rejected": ...}``; as in LLaVA the picture moves
to the front of its turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.recipes.data.formats.preference.build import answer, pair, user, with_picture
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import Sample

__all__ = ["recognise", "sample"]


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has the path of a picture, a prompt and two answers."""
    return {"img_path", "prompt", "chosen", "rejected"} <= first.keys()


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    prompt = user(filled(row, "prompt", where))
    chosen, rejected = answer(row, "chosen", where), answer(row, "rejected", where)
    ready = with_picture(row, ("img_path",), root, where)
    return pair(ready, prompt, chosen, rejected, root, where, offenders, read=("prompt", "chosen", "rejected"))
