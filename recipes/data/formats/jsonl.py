"""One conversation a line, in the form of transformers' chat templates and of TRL's vision data sets.

A line is ``{"messages": [...]}`` with the optional fields ``id``, ``images``, ``videos``, ``audios``, ``system``,
``types``, ``answers`` and ``description``; a JSON list of such objects is read too. A part ``{"type": "image"}`` takes
the next entry of ``images`` (``image`` is the same field), or brings its own ``path``. Files that no part takes stand
where the user's texts have the markers ``<image>``, and without markers in front of the first turn, as TRL puts them;
in a row without such files a marker is text.

Media that the assistant makes are parts of its own turn, ``{"type": "audio", "caption": "rain"}``, perhaps with the
``path`` of the sound itself and with an ``embedding``, the ``.npy`` of the caption.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

from inlay.adapters.conversation.messages import MessageError, Role, parse_messages
from inlay.adapters.media.modality import Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import annotated, identity, image_path, text
from inlay.recipes.data.rows.markers import place
from inlay.recipes.data.rows.media_fields import FIELDS, media_lists, refuse_unread, with_system
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import records
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns

__all__ = ["read_messages_jsonl"]

_READ = ("id", "messages", "system", *(name for names in FIELDS.values() for name in names))


def read_messages_jsonl(
    path: str | Path, images: str | Path | None, *, offenders: Offenders | None = None
) -> list[Sample]:
    """Read conversations; empty lines are passed over.

    Args:
        path: the file.
        images: the folder of the media; None when there are none.
        offenders: takes the lines that cannot be used; the first one is an error if not given.

    Returns:
        The samples in the order of the file; the paths of media are absolute. The media themselves are not looked at,
        see :func:`~inlay.recipes.data.rows.media_check.check_media`.

    Raises:
        DataError: names the file, the line (from 1) and the field.
    """
    path, root = Path(path), None if images is None else Path(images).absolute()
    offenders = offenders or Offenders()
    samples: dict[str, Sample] = {}
    for where, item in records(path, offenders):
        with offenders.row(where):
            sample = _sample(item, root, where, where.rpartition(", ")[2].replace(" ", "-"), offenders)
            if sample.id in samples:
                raise DataError(f"{where}, id: {shown(sample.id)} is also the id of {samples[sample.id].origin}")
            samples[sample.id] = sample
    return list(samples.values())


def _sample(item: Mapping[str, Any], root: Path | None, where: str, default_id: str, offenders: Offenders) -> Sample:
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
    return annotated(item, identity(item, where, default_id), messages, where)


def _waiting(raw: list[Any], kind: Modality) -> bool:
    """Whether a part of the user takes a file from the row's list."""
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
    read = _made if message.get("role") == "assistant" else partial(_part, names)
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


def _made(part: object, root: Path | None, where: str) -> object:
    """A part of the assistant's turn; `parse_messages` checks that it has a caption or a source."""
    if isinstance(part, dict) and part.get("type") == "text":
        return part | {"text": text(part.get("text"), f"{where}, text")}
    if not isinstance(part, dict) or part.get("type") not in get_args(Modality):
        return part
    kind: Any = part["type"]
    made: dict[str, Any] = {"type": kind, "caption": text(part.get("caption", ""), f"{where}, caption")}
    for field, name in (("path", part.get("path", part.get(kind))), ("embedding", part.get("embedding"))):
        if name is not None:
            made[field] = image_path(text(name, f"{where}, {field}"), root, f"{where}, {field}")
    return made
