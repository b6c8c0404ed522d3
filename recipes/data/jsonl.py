"""One conversation a line, in the form of transformers' chat templates and of TRL's vision data sets.

A line is ``{"messages": [...]}`` with the optional fields ``id``, ``images``, ``types``, ``answers`` and
``description``. A part ``{"type": "image"}`` takes the next entry of ``images``, or brings its own ``path``. What the
assistant makes is a part of its own turn, ``{"type": "audio", "caption": "rain"}``, perhaps with the ``path`` of the
sound itself and with an ``embedding``, the ``.npy`` of the caption. Text is only ever text here: ``<image>`` written in
it means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

from inlay.adapters.conversation.messages import MessageError, parse_messages
from inlay.adapters.media.modality import Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.fields import annotated, decode, identity, image_list, image_path, parse, text
from inlay.recipes.data.sample import DataError, Sample, check_turns

__all__ = ["MAX_LINE_BYTES", "numbered_lines", "read_messages_jsonl"]

MAX_LINE_BYTES = 1 << 24
"""The longest line that is parsed: 16 MiB."""


def read_messages_jsonl(path: str | Path, images: str | Path | None) -> list[Sample]:
    """Read a JSONL file of messages; empty lines are passed over.

    Args:
        path: the JSONL file.
        images: the folder of the images; None when there are none.

    Returns:
        The samples in the order of the file; the images' paths are absolute. The images themselves are not looked at,
        see :func:`~inlay.recipes.data.sample.check_media`.

    Raises:
        DataError: names the file, the line (from 1) and the field.
    """
    path, root = Path(path), None if images is None else Path(images).absolute()
    samples: dict[str, Sample] = {}
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        sample = _sample(parse(line, where), root, where, f"line-{number}")
        if sample.id in samples:
            raise DataError(f"{where}, id: {shown(sample.id)} is also the id of {samples[sample.id].origin}")
        samples[sample.id] = sample
    if not samples:
        raise DataError(f"{path}: expected at least one line with a conversation, got none")
    return list(samples.values())


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not empty, with their numbers from 1.

    Raises:
        DataError: a file that cannot be read, a line that is too long or no UTF-8.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(raw) > MAX_LINE_BYTES:
                    raise DataError(f"{path}, line {number}: expected at most {MAX_LINE_BYTES:,} bytes in a line")
                line = decode(raw, f"{path}, line {number}")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _sample(item: object, root: Path | None, where: str, default_id: str) -> Sample:
    if not isinstance(item, dict):
        raise DataError(f"{where}: expected an object, got {shown(item)}")
    raw = item.get("messages")
    if not isinstance(raw, list):
        raise DataError(f"{where}, messages: expected a list of messages, got {shown(raw)}")
    names = iter(image_list(item.get("images"), f"{where}, images"))
    filled = [_message(message, names, root, f"{where}, message {index}") for index, message in enumerate(raw)]
    if left := len(list(names)):
        raise DataError(f"{where}, images: {left} more image(s) than parts of type image in the messages")
    try:
        messages = parse_messages(filled)
    except MessageError as error:
        raise DataError(f"{where}, {error}") from None
    check_turns(messages, where)
    return annotated(item, identity(item, where, default_id), messages, where)


def _message(message: object, names: Iterator[str], root: Path | None, where: str) -> object:
    """The message with the path of every medium filled in; what else is wrong with it, `parse_messages` says."""
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


def _part(names: Iterator[str], part: object, root: Path | None, where: str) -> object:
    if isinstance(part, dict) and part.get("type") == "text":
        return part | {"text": text(part.get("text"), f"{where}, text")}
    if not isinstance(part, dict) or part.get("type") not in get_args(Modality):
        return part
    kind: Any = part["type"]
    name = part.get("path", part.get(kind))
    if name is None:
        name = next(names, None) if kind == "image" else None
        if name is None:
            raise DataError(f"{where}: a part of type {kind} without a 'path' and without an entry left in 'images'")
    return {"type": kind, "path": image_path(text(name, f"{where}, path"), root, f"{where}, path")}


def _made(part: object, root: Path | None, where: str) -> object:
    """A part of the assistant's turn; whether it has a caption or a source, `parse_messages` sees."""
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
