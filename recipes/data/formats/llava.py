"""LLaVA's data format (Liu et al., 2023, https://arxiv.org/abs/2304.08485; docs of haotian-liu/LLaVA), and ShareGPT's.

An item is ``{"id", "image", "conversations": [{"from": "human" | "gpt", "value"}, ...]}``, in one JSON list or one a
line; text-only items have no ``image``; ``video``, ``audio`` and ``features`` name clips, sounds and files of features.
The markers ``<image>``, ``<video>``, ``<audio>`` and ``<features>`` may be anywhere in the human's text; as in LLaVA
they move to the front of their turn, and the newline after them belongs to the template. Media under ``images``,
``videos`` or ``audios``, as LLaMA-Factory names them in its ShareGPT rows, stay where their markers are.

Deviations in published files are read as follows (the first as in LLaVA's own loader, c121f04):

- a first turn of ``gpt`` and a last turn of ``human`` are left out;
- ``user`` and ``assistant`` are other names of the roles, ``role`` and ``content`` of the fields; a turn of ``system``,
  or a field ``system``, is the system message;
- turns that call a tool, and a field ``tools``, are errors;
- media without any marker are placed in front of the first turn; a marker without a medium, inside a line, is text;
- an empty answer among others is not trained on; a repeated id is numbered (``000000033471#2``).

Three fields are extensions: ``types`` (a question type for each answer), ``answers`` (human answers: a list for the
last turn, or a list of lists, one for each turn) and ``description`` (the picture as text).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, Part, Role, TextPart, media_of
from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.read_file import read_file
from inlay.recipes.data.rows.fields import ANNOTATIONS, annotated, identity, needed, text
from inlay.recipes.data.rows.markers import MARKERS, Piece, place
from inlay.recipes.data.rows.media_fields import FIELDS, MEDIA_FIELDS, media_lists, with_system
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import json_name
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns
from inlay.recipes.data.rows.unread_fields import TOOL_ROLES, refuse_in_turn, refuse_unread
from inlay.recipes.data.rows.write import write_text

__all__ = ["MARKER", "read_llava", "sample", "write_llava"]

MARKER = MARKERS["image"]
_ROLES: dict[str, Role] = {
    "human": "user",
    "gpt": "assistant",
    "user": "user",
    "assistant": "assistant",
    "system": "system",
}
_NAMES: dict[str, str] = {"user": "human", "assistant": "gpt"}
_READ = ("id", "conversations", "system", *ANNOTATIONS, *MEDIA_FIELDS)
_INLINE = tuple(names[1] for names in FIELDS.values())


def read_llava(path: str | Path, images: Root, *, offenders: Offenders | None = None) -> Sequence[Sample]:
    """Read a LLaVA file.

    Args:
        path: the JSON file.
        images: the folder of the media; None if no item has media.
        offenders: collects invalid items, and notes on items that are read in another form; if not given, the first
            invalid item raises an error.

    Returns:
        The samples in the order of the file; the paths of media are absolute. The media are not checked, see
        :func:`~inlay.recipes.data.rows.checks.media_check.check_media`.

    Raises:
        DataError: with the file, the item (from 0) or line (from 1), and the field.
    """
    return read_file(sample, path, images, offenders, repeated="number")


def write_llava(path: str | Path, samples: Sequence[Sample], images: str | Path | None = None) -> None:
    """Write samples as a LLaVA JSON file, atomically.

    Args:
        path: the JSON file; its folder must exist.
        samples: the samples.
        images: the folder of all images; the file has their paths relative to it.

    Raises:
        DataError: a sample that the format cannot represent: a system message, an image in memory or outside the
            folder, a medium that is not an image, or the text ``<image>``.
    """
    path = Path(path)
    root = None if images is None else Path(images).absolute()
    data = json.dumps([_item(sample, root) for sample in samples], ensure_ascii=False, indent=1) + "\n"
    write_text(path, data)


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row."""
    raw = needed(row, "conversations", where)
    if not isinstance(raw, (list, tuple)) or not raw:
        raise DataError(f"{where}, conversations: expected a list of turns, got {shown(raw)}")
    refuse_unread(row, _READ, where, system=True, offenders=offenders)
    turns = [_usual(turn) or _value(turn, f"{where}, turn {number}") for number, turn in enumerate(raw)]
    inline = any(name in row and row[name] is not None for name in _INLINE)
    placed = place(turns, media_lists(row, root, where), where, offenders, inline=inline)
    messages = [
        Message(turn[0], (TextPart(pieces[0]),) if len(pieces) == 1 and type(pieces[0]) is str else _parts(pieces))
        for turn, pieces in zip(turns, placed, strict=True)
    ]
    conversation = with_system(row, tuple(_trimmed(messages, where, offenders)), where)
    check_turns(conversation, where)
    return annotated(row, identity(row, where), conversation, where)


def _parts(pieces: Sequence[Piece]) -> tuple[Part, ...]:
    return tuple([TextPart(piece) if isinstance(piece, str) else MediaPart(*piece) for piece in pieces])


def _trimmed(messages: list[Message], where: str, offenders: Offenders) -> list[Message]:
    """The turns without a first answer that has no question, and without a last question that has no answer."""
    if messages[0].role == "user" and messages[-1].role == "assistant":
        return messages
    head = [message for message in messages[:1] if message.role == "system"]
    turns = messages[len(head) :]
    if len(turns) > 1 and turns[0].role == "assistant":
        offenders.note("begin with an answer: that turn is left out, as in LLaVA's own loader", where)
        turns = turns[1:]
    if len(turns) > 1 and turns[-1].role == "user":
        offenders.note("end with a question: that turn is left out, as it has no answer", where)
        turns = turns[:-1]
    return head + turns


def _usual(turn: object) -> tuple[Role, str] | None:
    """Role and text of a turn in LLaVA's own form; None for every other turn. Most turns are of this form."""
    if type(turn) is dict and len(turn) == 2:
        name, value = turn.get("from"), turn.get("value")
        if type(name) is str and name in _ROLES and type(value) is str and value.isascii():
            return _ROLES[name], value
    return None


def _value(turn: object, where: str) -> tuple[Role, str]:
    if not isinstance(turn, dict):
        raise DataError(f"{where}: expected an object with 'from' and 'value', got {json_name(turn)}")
    if "from" not in turn and "role" not in turn:
        raise DataError(f"{where}: expected the fields 'from' and 'value', got {shown(', '.join(map(str, turn)))}")
    name = turn.get("from", turn.get("role"))
    role = _ROLES.get(name) if isinstance(name, str) else None
    if isinstance(name, str) and name in TOOL_ROLES:
        raise DataError(f"{where}, from: {name!r}: calls of tools are not trained; leave the row out")
    if role is None:
        raise DataError(f"{where}, from: expected {', '.join(_ROLES)}, got {shown(name)}")
    if len(turn) > 2:
        refuse_in_turn(turn, ("from", "role", "value", "content"), where)
    return role, text(turn.get("value", turn.get("content")), f"{where}, value")


def _item(sample: Sample, root: Path | None) -> dict[str, Any]:
    where = f"sample {shown(sample.id)}"
    check_turns(sample.messages, where)
    item: dict[str, Any] = {"id": sample.id}
    names = [_name(part, root, where) for part in media_of(sample.messages)]
    if names:
        item["image"] = names[0] if len(names) == 1 else names
    item["conversations"] = [_turn(message, where) for message in sample.messages]
    extra = {"types": sample.kinds, "answers": sample.answers, "description": sample.description}
    return item | {key: value for key, value in extra.items() if value}


def _turn(message: Message, where: str) -> dict[str, str]:
    if message.role not in _NAMES:
        raise DataError(f"{where}: LLaVA's format has no {message.role} message; write JSONL or leave it out")
    if MARKER in message.text:
        raise DataError(f"{where}: the text contains {MARKER}, which LLaVA's format reads as an image")
    markers = MARKER * len(media_of([message]))
    return {
        "from": _NAMES[message.role],
        "value": f"{markers}\n{message.text}".strip("\n") if markers else message.text,
    }


def _name(part: MediaPart, root: Path | None, where: str) -> str:
    if part.modality != "image" or not isinstance(part.source, Path) or root is None:
        raise DataError(
            f"{where}: expected an image file in the image folder, got {part.modality} {shown(part.source)}"
        )
    source = part.source.absolute()
    if not source.is_relative_to(root):
        raise DataError(f"{where}: {source} is outside the image folder {root}")
    return source.relative_to(root).as_posix()
