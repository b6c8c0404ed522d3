"""TRL's prompts with completions (https://huggingface.co/docs/trl/dataset_formats), as text or as messages.

``{"prompt": "The sky is", "completion": " blue."}``, or ``{"prompt": [{"role": "user", ...}], "completion": [{"role":
"assistant", ...}]}``, with the optional fields ``images`` (or ``image``) and so on. A prompt that is text becomes the
user's turn, and its completion the answer, both without white space around them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.chat.conversation import conversation
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["recognise", "sample"]


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has a prompt and a completion."""
    return "prompt" in first and "completion" in first


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row.

    Raises:
        DataError: a field that is missing, of the wrong type, or not read.
    """
    if isinstance(row.get("label"), bool):
        raise DataError(f"{where}, label: preferences are not trained by this format; remove the field")
    turns = [*_turns(row, "prompt", "user", where), *_turns(row, "completion", "assistant", where)]
    return conversation(row, turns, root, where, offenders, field="prompt", read=("prompt", "completion"))


def _turns(row: Mapping[str, Any], field: str, role: str, where: str) -> list[Any]:
    held = row.get(field)
    if isinstance(held, (list, tuple)):
        return list(held)
    if not isinstance(held, str):
        raise DataError(f"{where}, {field}: expected text or a list of messages, got {shown(held)}")
    return [{"role": role, "content": filled(row, field, where)}]
