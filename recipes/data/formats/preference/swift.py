"""ms-swift's preference rows (https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html).

A row has ``messages`` that end with the better answer, and ``rejected_response``: the worse one, or a list with a pair
for each. Instead, ``rejected_messages`` is the whole worse conversation, and ``rejected_images`` (``rejected_videos``,
``rejected_audios``) are other media for it; without them it has the media of the row. A row with ``label`` is a single
answer, good or bad; ``kto_tag`` is LLaMA-Factory's name of that field. ``margin`` is a field of reward
models, and not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inlay.adapters.media.modality import Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.preference.build import common, labelled, numbered, pair
from inlay.recipes.data.rows.fields import text
from inlay.recipes.data.rows.media_values import Root, medium, values_of
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["recognise", "sample"]

_MEDIA: dict[str, Modality] = {"rejected_images": "image", "rejected_audios": "audio", "rejected_videos": "video"}
_LABELS = ("label", "kto_tag")
_READ = ("messages", "rejected_response", "rejected_messages", *_LABELS, *_MEDIA)


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row of messages has a worse answer, or a label."""
    worse = ("rejected_response", "rejected_messages", *_MEDIA)
    return "messages" in first and (
        any(name in first for name in worse) or any(isinstance(first.get(name), bool) for name in _LABELS)
    )


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample | Sequence[Sample]:
    """One row, which is several pairs if ``rejected_response`` is a list.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    if row.get("objects"):
        raise DataError(f"{where}, objects: boxes of objects (ms-swift's grounding) are not read; leave the row out")
    messages = row.get("messages")
    if not isinstance(messages, (list, tuple)) or not messages:
        raise DataError(f"{where}, messages: expected a list of messages, got {shown(messages)}")
    given = [
        name for name in ("rejected_response", "rejected_messages") if row.get(name) is not None and row[name] != []
    ]
    if len(given) > 1:
        raise DataError(f"{where}: expected {' or '.join(given)}, got both; leave one out")
    media = {kind: _media(row, name, kind, root, where) for name, kind in _MEDIA.items() if row.get(name)}
    if not given and not media:
        label = next((row[name] for name in _LABELS if row.get(name) is not None), None)
        if not isinstance(label, bool):
            raise DataError(f"{where}, rejected_response: expected text or a list of texts, or a label, got neither")
        return labelled(row, messages, label, root, where, offenders, read=_READ)
    field = given[0] if given else "rejected_images"

    def build(turns: Sequence[Any], field: str) -> Sample:
        prompt, chosen, rejected = _split(messages, turns)
        fields = ("messages", field)
        return pair(row, prompt, chosen, rejected, root, where, offenders, read=_READ, fields=fields, own_media=media)

    if field != "rejected_response":
        turns = row["rejected_messages"] if given else messages
        if not isinstance(turns, (list, tuple)):
            raise DataError(f"{where}, {field}: expected a list of messages, got {shown(turns)}")
        return build(turns, field)
    worse = row[field]
    if not isinstance(worse, (list, tuple)):
        return build([*messages[:-1], _answer(worse, f"{where}, {field}")], field)
    answers = [(_answer(one, f"{where}, {field}[{number}]"), number) for number, one in enumerate(worse)]
    return numbered([build([*messages[:-1], turn], f"{field}[{number}]") for turn, number in answers])


def _answer(value: Any, where: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text(value, where)}


def _split(messages: Sequence[Any], turns: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """The common messages, and the rest of each conversation, which is at least its last message."""
    same = common(messages[:-1], turns[:-1])
    return list(messages[:same]), list(messages[same:]), list(turns[same:])


def _media(row: Mapping[str, Any], field: str, kind: Modality, root: Root, where: str) -> list[Any]:
    """The values of a field of media; one that is refused is named by the field."""
    values = values_of(row[field])
    for number, value in enumerate(values):
        medium(value, kind, root, f"{where}, {field}[{number}]")
    return values
