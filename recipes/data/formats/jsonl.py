"""One conversation a line, in the format of transformers' chat templates and TRL's vision data sets.

A line is ``{"messages": [...]}`` with the optional fields ``id``, ``images``, ``videos``, ``audios``, ``system``,
``types``, ``answers`` and ``description``; a JSON list of such objects is read too. A part ``{"type": "image"}`` takes
the next entry of ``images`` (``image`` is the same field), or has its own ``path``. Files that no part takes are placed
at the markers ``<image>`` in the user's texts; without markers, in front of the first turn, as in TRL. In a row without
such files a marker is text.

Media that the assistant generates are parts of its turn, ``{"type": "audio", "caption": "rain"}``, optionally with the
``path`` of the target medium and with an ``embedding``, an ``.npy`` file of the caption's embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

from inlay.adapters.conversation.messages import MessageError, Role, parse_messages
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import annotated, identity, image_path, text
from inlay.recipes.data.rows.markers import place
from inlay.recipes.data.rows.media_fields import FIELDS, media_lists, refuse_unread, with_system
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import read_each
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns

__all__ = ["read_messages_jsonl"]

_READ = ("id", "messages", "system", *(name for names in FIELDS.values() for name in names))


def read_messages_jsonl(
    path: str | Path, images: str | Path | None, *, offenders: Offenders | None = None
) -> list[Sample]:
    """Read conversations; empty lines are skipped.

    Args:
        path: the file.
        images: the folder of the media; None if there are none.
        offenders: collects invalid lines; if not given, the first one raises an error.

    Returns:
        The samples in the order of the file; the paths of media are absolute. The media are not checked, see
        :func:`~inlay.recipes.data.rows.media_check.check_media`.

    Raises:
        DataError: with the file, the line (from 1) and the field.
    """
    root = None if images is None else Path(images).absolute()
    offenders = offenders or Offenders()
    return read_each(Path(path), lambda item, where: _sample(item, root, where, offenders), offenders)


def _sample(item: Mapping[str, Any], root: Path | None, where: str, offenders: Offenders) -> Sample:
    raw = item.get("messages")
    if not isinstance(raw, list):
        raise DataError(f"{where}, messages: expected a list of messages, got {shown(raw)}")
    refuse_unread(item, _READ, where, system=True)
    files = media_lists(item, where)
    taken = {kind: names for kind, names in files.items() if _waiting(raw, kind)}
    raw = _placed(raw, {kind: names for kind, names in files.items() if kind not in taken and names}, where, offenders)
    names = {kind: iter(given) for kind, given in taken.items()}
    filled = [_message(message, names, root, f"{where}, message {index}") for index, message in enumerate(raw)]
    for kind, given in names.items():
        if left := len(list(given)):
            raise DataError(
                f"{where}, {FIELDS[kind][1]}: {left} more {kind}(s) than parts of type {kind} in the messages"
            )
    try:
        messages = parse_messages(filled)
    except MessageError as error:
        raise DataError(f"{where}, {error}") from None
    messages = with_system(item, messages, where)
    check_turns(messages, where)
    return annotated(item, identity(item, where), messages, where)


def _waiting(raw: list[Any], kind: Modality) -> bool:
    """Whether a part of a user's turn takes a file from the row's list."""
    contents = [
        message.get("content") for message in raw if isinstance(message, dict) and message.get("role") == "user"
    ]
    parts = [part for content in contents if isinstance(content, list) for part in content if isinstance(part, dict)]
    return any(part.get("type") == kind and part.get("path", part.get(kind)) is None for part in parts)


def _placed(raw: list[Any], files: Mapping[Modality, list[str]], where: str, offenders: Offenders) -> list[Any]:
    """The messages with a part for every file that no part takes."""
    if not files:
        return raw
    users = [message for message in raw if isinstance(message, dict) and message.get("role") == "user"]
    if any(not isinstance(message.get("content"), str) for message in users):
        front = [{"type": kind, "path": name} for kind, names in files.items() for name in names]
        return [_in_front(message, front) if users and message is users[0] else message for message in raw]
    turns: list[tuple[Role, str]] = [
        ("user", message["content"]) if any(message is user for user in users) else ("assistant", "") for message in raw
    ]
    placed = place(turns, files, where, offenders)
    return [
        message | {"content": [*({"type": kind, "path": name} for kind, name in media), *_said(said)]}
        if media
        else message
        for message, (media, said) in zip(raw, placed, strict=True)
    ]


def _in_front(message: dict[str, Any], front: list[dict[str, str]]) -> dict[str, Any]:
    content = message.get("content")
    return message | {"content": [*front, *(content if isinstance(content, list) else _said(str(content)))]}


def _said(words: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": words}] if words else []


def _message(message: object, names: Mapping[Modality, Iterator[str]], root: Path | None, where: str) -> object:
    """The message with the path of every medium filled in; `parse_messages` checks the rest."""
    if not isinstance(message, dict):
        return message
    content = message.get("content")
    if isinstance(content, str):
        text(content, f"{where}, content")
    if not isinstance(content, list):
        return message
    read = _generated if message.get("role") == "assistant" else partial(_part, names)
    parts = [read(part, root, f"{where}, content[{index}]") for index, part in enumerate(content)]
    return message | {"content": parts}


def _part(names: Mapping[Modality, Iterator[str]], part: object, root: Path | None, where: str) -> object:
    if isinstance(part, dict) and part.get("type") == "text":
        return part | {"text": text(part.get("text"), f"{where}, text")}
    if not isinstance(part, dict) or part.get("type") not in get_args(Modality):
        return part
    kind: Any = part["type"]
    name = part.get("path", part.get(kind))
    if name is None:
        name = next(names.get(kind, iter(())), None)
        if name is None:
            raise DataError(
                f"{where}: a part of type {kind} without a 'path' and without an entry left in {FIELDS[kind][1]!r}"
            )
    return {"type": kind, "path": image_path(text(name, f"{where}, path"), root, f"{where}, path")}


def _generated(part: object, root: Path | None, where: str) -> object:
    """A part of the assistant's turn; `parse_messages` checks that it has a caption or a source."""
    if isinstance(part, dict) and part.get("type") == "text":
        return part | {"text": text(part.get("text"), f"{where}, text")}
    if not isinstance(part, dict) or part.get("type") not in get_args(Modality):
        return part
    kind: Any = part["type"]
    if kind not in GENERATED:
        return part
    found: dict[str, Any] = {"type": kind, "caption": text(part.get("caption", ""), f"{where}, caption")}
    for field, name in (("path", part.get("path", part.get(kind))), ("embedding", part.get("embedding"))):
        if name is not None:
            found[field] = image_path(text(name, f"{where}, {field}"), root, f"{where}, {field}")
    return found
