"""TRL's preference rows (https://huggingface.co/docs/trl/dataset_formats), also written by ``inlay pairs``.

Pairs are ``{"prompt": ..., "chosen": ..., "rejected": ...}``, all texts or lists of messages, with ``images`` (or
``image``) and so on. Without ``prompt`` the turns that both answers begin with are the prompt; of texts, the words.
mlx-vlm's rows (https://github.com/Blaizzy/mlx-vlm, ``trainer/datasets/preference.py``) are such rows. Single answers
are ``{"prompt": ..., "completion": ..., "label": true}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.preference.build import common, labelled, pair
from inlay.recipes.data.rows.fields import text
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["recognise", "recognise_implicit", "recognise_labels", "sample", "sample_implicit", "sample_label"]

_SCORES = ("score_chosen", "score_rejected", "reward", "samples")
"""Fields of ``inlay pairs``."""
_READ = ("prompt", "chosen", "rejected", *_SCORES)


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has a prompt and two answers."""
    return "prompt" in first and "chosen" in first and "rejected" in first


def recognise_implicit(first: Mapping[str, Any]) -> bool:
    """Whether a row has two answers that contain the prompt, and no conversation in another field."""
    others = {"messages", "conversations", "instruction", "query", "text_input"}
    return "chosen" in first and "rejected" in first and others.isdisjoint(first)


def recognise_labels(first: Mapping[str, Any]) -> bool:
    """Whether a row has a prompt, an answer and a label."""
    return "prompt" in first and "completion" in first and isinstance(first.get("label"), bool)


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row; a row without a prompt is read by :func:`sample_implicit`.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    if row.get("prompt") is None:
        return sample_implicit(row, root, where, offenders)
    prompt = _turns(row["prompt"], "user", f"{where}, prompt")
    chosen, rejected = (_turns(row.get(field), "assistant", f"{where}, {field}") for field in ("chosen", "rejected"))
    if chosen[: len(prompt)] == prompt == rejected[: len(prompt)] and len(chosen) > len(prompt):
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]  # some files repeat the prompt
    return pair(row, prompt, chosen, rejected, root, where, offenders, read=_READ)


def sample_implicit(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row whose prompt is the common beginning of its two answers.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read; or no common beginning.
    """
    both = [row.get(field) for field in ("chosen", "rejected")]
    if all(isinstance(value, str) for value in both):
        better, worse = (text(value, f"{where}, {field}") for value, field in zip(both, _READ[1:3], strict=True))
        start = _common_words(better, worse)
        prompt = _turns(better[:start], "user", where)
        chosen, rejected = (_turns(value[start:], "assistant", where) for value in (better, worse))
    else:
        chosen, rejected = (
            _turns(value, "", f"{where}, {field}") for value, field in zip(both, _READ[1:3], strict=True)
        )
        start = common(chosen[:-1], rejected[:-1])
        prompt, chosen, rejected = chosen[:start], chosen[start:], rejected[start:]
    if not prompt or not any(str(turn.get("content") or "").strip() for turn in prompt if isinstance(turn, Mapping)):
        raise DataError(f"{where}, rejected: expected a beginning in common with chosen (the prompt), got none")
    return pair(row, prompt, chosen, rejected, root, where, offenders, read=_READ)


def sample_label(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row of an answer with a label.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    prompt = _turns(row.get("prompt"), "user", f"{where}, prompt")
    completion = _turns(row.get("completion"), "assistant", f"{where}, completion")
    read = ("prompt", "completion", "label")
    return labelled(row, [*prompt, *completion], row.get("label"), root, where, offenders, read=read)


def _turns(value: Any, role: str, where: str) -> list[Any]:
    """The messages of a field; text becomes one message of a role."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if not isinstance(value, str) or not role:
        raise DataError(f"{where}: expected {'text or ' if role else ''}a list of messages, got {shown(value)}")
    return [{"role": role, "content": text(value, where).strip()}]


def _common_words(better: str, worse: str) -> int:
    """Length of the common beginning, up to the last white space in it: both answers begin with a whole word."""
    start = common(better, worse)
    while start and not better[start - 1].isspace():
        start -= 1
    return start
