"""RLHF-V's data set (Yu et al., 2024, https://arxiv.org/abs/2312.00849), corrected answers about pictures.

Parquet with ``image`` and ``text``, a JSON text ``{"question", "chosen", "rejected"}``, beside ``ds_name``,
``origin_dataset``, ``origin_split``, ``idx`` and ``image_path``, which are not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.preference.build import answer, pair, user, with_picture
from inlay.recipes.data.rows.fields import parse, text
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["METADATA", "recognise", "sample"]

METADATA = ("ds_name", "origin_dataset", "origin_split", "idx", "image_path")
"""Fields of RLHF-V and RLAIF-V about the origin of a row."""


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a text is JSON with two answers."""
    held = first.get("text")
    if isinstance(held, str) and held.lstrip().startswith("{"):
        with suppress(DataError):
            found = parse(held, "")
            return isinstance(found, dict) and {"chosen", "rejected"} <= found.keys()
    return False


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    held = parse(text(row.get("text"), f"{where}, text"), f"{where}, text")
    if not isinstance(held, dict):
        raise DataError(f"{where}, text: expected a JSON object with question, chosen, rejected, got {shown(held)}")
    place = f"{where}, text"
    prompt = user(filled(held, "question", place))
    chosen, rejected = answer(held, "chosen", place), answer(held, "rejected", place)
    ready = with_picture(row, ("image", "image_path"), root, where)
    return pair(ready, prompt, chosen, rejected, root, where, offenders, read=("text", *METADATA))
