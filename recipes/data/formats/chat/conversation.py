"""One conversation of messages, with the media of its row at parts, at markers, or in front of the first turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, MessageError, Part, Role, TextPart, parse_messages
from inlay.adapters.media.modality import Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.chat.parts import generated_part, kind_of, part_of, source_of
from inlay.recipes.data.rows.fields import ANNOTATIONS, annotated, identity, text
from inlay.recipes.data.rows.markers import Piece, place
from inlay.recipes.data.rows.media_fields import FIELDS, MEDIA_FIELDS, media_lists, with_system
from inlay.recipes.data.rows.media_values import MediaRules, Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns
from inlay.recipes.data.rows.unread_fields import TOOL_ROLES, refuse_in_turn, refuse_unread

__all__ = ["conversation", "dialogue"]

_COMMON = ("id", "system", *ANNOTATIONS, *MEDIA_FIELDS)


def conversation(
    row: Mapping[str, Any], raw: Any, root: Root, where: str, offenders: Offenders, *, field: str, read: Sequence[str]
) -> Sample:
    """The sample of a row whose turns are messages.

    Args:
        row: the row; its fields ``images`` and so on name media, ``system`` is the system message.
        raw: the messages, ``[{"role", "content"}, ...]``.
        root: the folder of the media, or rules.
        where: the row's place, for errors.
        offenders: collects notes.
        field: the field of the messages, for errors.
        read: the fields that the format reads beside ``id``, ``system`` and those of media.

    Raises:
        DataError: with the message and the field.
    """
    if not isinstance(raw, (list, tuple)):
        raise DataError(f"{where}, {field}: expected a list of messages, got {shown(raw)}")
    refuse_unread(row, (*read, *_COMMON), where, system=True, offenders=offenders)
    rules = MediaRules.of(root)
    files = media_lists(row, rules, where)
    taken = {kind: held for kind, held in files.items() if _waiting(raw, kind)}
    left = {kind: held for kind, held in files.items() if kind not in taken and held}
    inline = not any(row.get(name) is not None for name, _ in FIELDS.values())
    placed = _placed(
        [_role(message, f"{where}, message {n}") for n, message in enumerate(raw)], left, where, offenders, inline
    )
    waiting = {kind: iter(held) for kind, held in taken.items()}
    filled = [_message(message, waiting, rules, f"{where}, message {index}") for index, message in enumerate(placed)]
    for kind, rest in waiting.items():
        if count := len(list(rest)):
            raise DataError(
                f"{where}, {FIELDS[kind][1]}: {count} more {kind}(s) than parts of type {kind} in the messages"
            )
    try:
        messages = parse_messages(filled)
    except MessageError as error:
        raise DataError(f"{where}, {error}") from None
    messages = with_system(row, messages, where)
    check_turns(messages, where)
    return annotated(row, identity(row, where), messages, where)


def dialogue(history: Any, asked: str, answer: str, where: str) -> list[dict[str, str]]:
    """Messages of earlier questions with their answers, and of the last question.

    Args:
        history: ``[[question, answer], ...]``, or None.
        asked: the last question.
        answer: its answer.
        where: the row's place, for errors.

    Raises:
        DataError: another form of history.

    Example:
        >>> [turn["content"] for turn in dialogue([["a", "b"]], "c", "d", "")]
        ['a', 'b', 'c', 'd']
    """
    pairs = [] if history is None else history
    if not isinstance(pairs, (list, tuple)):
        raise DataError(f"{where}, history: expected a list of pairs [question, answer], got {shown(pairs)}")
    turns: list[str] = []
    for number, pair in enumerate(pairs):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise DataError(f"{where}, history[{number}]: expected a pair [question, answer], got {shown(pair)}")
        turns += [text(said, f"{where}, history[{number}]") for said in pair]
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": said} for n, said in enumerate([*turns, asked, answer])]


def _role(message: Any, where: str) -> Any:
    """The message with a role of ours; roles and fields that are not trained are errors."""
    if not isinstance(message, Mapping):
        return message
    role = message.get("role")
    if role in TOOL_ROLES:
        raise DataError(f"{where}, role: {role!r}: calls of tools are not trained; leave the row out")
    refuse_in_turn(message, ("role", "content"), where)
    return {"role": "system" if role == "developer" else role, "content": message.get("content")}


def _waiting(raw: Sequence[Any], kind: Modality) -> bool:
    """Whether a part of a user's turn takes a medium from the row's list."""
    contents = [
        message.get("content") for message in raw if isinstance(message, Mapping) and message.get("role") == "user"
    ]
    parts = [part for content in contents if isinstance(content, (list, tuple)) for part in content]
    return any(kind_of(part) == kind and source_of(part)[1] is None for part in parts)


def _placed(
    raw: list[Any], files: Mapping[Modality, list[Any]], where: str, offenders: Offenders, inline: bool
) -> list[Any]:
    """The messages with a part for every medium of the row that no part takes."""
    if not files:
        return raw
    users = [message for message in raw if isinstance(message, dict) and message["role"] == "user"]
    if any(not isinstance(message["content"], str) for message in users):
        front = [MediaPart(kind, source) for kind, sources in files.items() for source in sources]
        return [_in_front(message, front) if message is users[0] else message for message in raw]
    turns: list[tuple[Role, str]] = [
        ("user", message["content"]) if any(message is user for user in users) else ("assistant", "") for message in raw
    ]
    placed = place(turns, files, where, offenders, inline=inline)
    return [
        message | {"content": [_as_part(piece) for piece in pieces]}
        if any(not isinstance(piece, str) for piece in pieces)
        else message
        for message, pieces in zip(raw, placed, strict=True)
    ]


def _as_part(piece: Piece) -> Part:
    return TextPart(piece) if isinstance(piece, str) else MediaPart(*piece)


def _in_front(message: dict[str, Any], front: list[MediaPart]) -> dict[str, Any]:
    content = message["content"]
    said = [_as_part(content)] if isinstance(content, str) and content else content
    return message | {"content": [*front, *(said if isinstance(said, (list, tuple)) else [])]}


def _message(message: Any, names: Mapping[Modality, Iterator[Any]], rules: MediaRules, where: str) -> Any:
    """The message with the source of every medium; `parse_messages` checks the rest."""
    if not isinstance(message, dict):
        return message
    content, made = message["content"], message["role"] == "assistant"
    if isinstance(content, str):
        text(content, f"{where}, content")
    if not isinstance(content, (list, tuple)):
        return message
    places = [(part, f"{where}, content[{index}]") for index, part in enumerate(content)]
    parts = [generated_part(part, rules, at) if made else part_of(part, names, rules, at) for part, at in places]
    return message | {"content": parts}
