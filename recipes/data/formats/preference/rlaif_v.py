"""RLAIF-V's data set (Yu et al., 2024, https://arxiv.org/abs/2405.17220): question, better and worse answer, picture.

Parquet or JSON with ``image``, ``question``, ``chosen``, ``rejected``; other media are named as in other formats. The
column ``logps`` holds log-probabilities of the authors' own reference model and is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.recipes.data.formats.preference.build import answer, pair, user, with_picture
from inlay.recipes.data.formats.preference.rlhf_v import METADATA
from inlay.recipes.data.rows.media_fields import MEDIA_FIELDS
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import Sample

__all__ = ["recognise", "sample"]

_READ = ("question", "chosen", "rejected", *METADATA)


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has a question and two answers."""
    return {"question", "chosen", "rejected"} <= first.keys()


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    prompt = user(filled(row, "question", where))
    chosen, rejected = answer(row, "chosen", where), answer(row, "rejected", where)
    if not any(row.get(name) for name in MEDIA_FIELDS):
        row = with_picture(row, ("image", "image_path"), root, where)
    return pair(row, prompt, chosen, rejected, root, where, offenders, read=_READ)
