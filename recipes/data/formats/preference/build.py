"""Builds the samples of preference formats: pairs of a better and a worse answer, and single answers with a label.

Only the last answers are compared. Both conversations share the messages of the prompt, unless the worse one has media
of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from inlay.adapters.conversation.messages import Message, made_of
from inlay.adapters.media.modality import Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.chat.conversation import conversation
from inlay.recipes.data.rows.fields import ANNOTATIONS
from inlay.recipes.data.rows.media_fields import FIELDS
from inlay.recipes.data.rows.media_values import Root, medium
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["answer", "common", "compared", "labelled", "numbered", "pair", "user", "with_picture"]


def common(one: Sequence[Any], two: Sequence[Any]) -> int:
    """Number of equal elements at the beginning.

    Example:
        >>> common("a disc", "a dog")
        3
    """
    most = min(len(one), len(two))
    return next((number for number in range(most) if one[number] != two[number]), most)


def user(text: str) -> list[dict[str, Any]]:
    """A question as messages."""
    return [{"role": "user", "content": text}]


def answer(row: Mapping[str, Any], field: str, where: str) -> list[dict[str, Any]]:
    """An answer as messages.

    Raises:
        DataError: the field is not text, or empty.
    """
    return [{"role": "assistant", "content": filled(row, field, where)}]


def pair(
    row: Mapping[str, Any],
    prompt: Sequence[Any],
    chosen: Sequence[Any],
    rejected: Sequence[Any],
    root: Root,
    where: str,
    offenders: Offenders,
    *,
    read: Sequence[str],
    fields: tuple[str, str] = ("chosen", "rejected"),
    own_media: Mapping[Modality, Sequence[Any]] | None = None,
) -> Sample:
    """A sample with a better and a worse conversation.

    Args:
        row: the row; its fields ``images`` and so on name the media.
        prompt: the messages that both conversations begin with.
        chosen: the further messages of the better one.
        rejected: the further messages of the worse one.
        root: the folder of the media, or rules.
        where: the row's place, for errors.
        offenders: collects notes.
        read: the fields that the format reads.
        fields: the fields of the better and of the worse answer, for errors.
        own_media: media of the worse conversation, by modality; those of the row if not given.

    Raises:
        DataError: an invalid message, an empty answer, or equal conversations.
    """
    for turns, field in zip((chosen, rejected), fields, strict=True):
        _check_turns(turns, f"{where}, {field}")
    better = conversation(row, [*prompt, *chosen], root, where, offenders, field=fields[0], read=read)
    other = {name: value for name, value in row.items() if name not in ANNOTATIONS}
    for modality, media in (own_media or {}).items():
        other = {name: value for name, value in other.items() if name not in FIELDS[modality]}
        other[FIELDS[modality][1]] = list(media)
    turns = [*prompt, *rejected]
    worse = conversation(other, turns, root, f"{where}, {fields[1]}", Offenders(), field=fields[1], read=read).messages
    if not own_media:  # The prompts are equal, and so share their media.
        worse = (*better.messages[: len(better.messages) - len(chosen)], *worse[len(worse) - len(rejected) :])
    if len(chosen) > 1 or len(rejected) > 1:
        offenders.note("have several turns that differ: only the last answers are compared", where)
    return compared(better, worse, where, fields)


def compared(
    better: Sample, worse: tuple[Message, ...], where: str, fields: tuple[str, str] = ("chosen", "rejected")
) -> Sample:
    """The sample with its worse conversation.

    Raises:
        DataError: the last answer of one is empty, or both are equal.
    """
    for messages, field in ((better.messages, fields[0]), (worse, fields[1])):
        _check_answer(messages, f"{where}, {field}")
    if better.messages[:-1] == worse[:-1] and _plain(better.messages[-1]) == _plain(worse[-1]):
        raise DataError(f"{where}, {fields[1]}: the same as {fields[0]}: {shown(worse[-1].text)}; leave the pair out")
    return replace(better, rejected=worse)


def labelled(
    row: Mapping[str, Any],
    turns: Sequence[Any],
    label: object,
    root: Root,
    where: str,
    offenders: Offenders,
    *,
    read: Sequence[str],
    field: str = "label",
) -> Sample:
    """A sample whose last answer is good or bad.

    Args:
        row: the row; its fields ``images`` and so on name the media.
        turns: the messages.
        label: whether the last answer is good.
        root: the folder of the media, or rules.
        where: the row's place, for errors.
        offenders: collects notes.
        read: the fields that the format reads.
        field: the field of the label, for errors.

    Raises:
        DataError: another label than true or false, or an invalid message.
    """
    if label not in (True, False):
        raise DataError(f"{where}, {field}: expected true (a good answer) or false, got {shown(label)}")
    found = conversation(row, turns, root, where, offenders, field="messages", read=read)
    _check_answer(found.messages, where)
    return replace(found, desirable=bool(label))


def numbered(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of one row, with ids ``7/1``, ``7/2``, ..."""
    return [replace(sample, id=f"{sample.id}/{number}") for number, sample in enumerate(samples, 1)]


def with_picture(row: Mapping[str, Any], fields: Sequence[str], root: Root, where: str) -> dict[str, Any]:
    """The row with its picture in the field ``image``.

    Args:
        row: the row.
        fields: names of the picture's field; the first one that the row has is taken.
        root: the folder of the media, or rules.
        where: the row's place, for errors.

    Raises:
        DataError: no picture, or one that is refused.
    """
    field = next((name for name in fields if row.get(name) is not None), fields[0])
    medium(row.get(field), "image", root, f"{where}, {field}")
    return {name: value for name, value in row.items() if name != field} | {"image": row[field]}


def _check_turns(turns: Sequence[Any], where: str) -> None:
    """Check that there is a last message, whose text is not empty; the parsed message is checked again."""
    last = turns[-1] if turns else {"content": ""}
    content = last.get("content") if isinstance(last, Mapping) else None
    if isinstance(content, str) and not content.strip():
        raise DataError(f"{where}: the answer is empty; leave the row out")


def _check_answer(messages: Sequence[Message], where: str) -> None:
    if not any(_plain(messages[-1])):
        raise DataError(f"{where}: the answer is empty; leave the row out")


def _plain(message: Message) -> list[Any]:
    """The text of an answer without white space around it, and the media that it generates."""
    return [message.text.strip(), *made_of([message])]
