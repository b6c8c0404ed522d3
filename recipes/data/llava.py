"""LLaVA's data format, one JSON list (Liu et al., 2023, https://arxiv.org/abs/2304.08485; docs of haotian-liu/LLaVA).

An item is ``{"id", "image", "conversations": [{"from": "human" | "gpt", "value"}, ...]}``; ``image`` is left out for
text. The marker ``<image>`` may stand anywhere in what the human says; as in LLaVA it moves to the front of its turn,
and the newline behind it belongs to the template. Three fields are ours: ``types`` (a question type for each answer),
``answers`` (what people answered: a list for the last turn, or a list of lists, one a turn) and ``description`` (the
picture as text).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, Part, Role, TextPart, media_of
from inlay.hub.safety.text import shown
from inlay.recipes.data.fields import annotated, decode, file_bytes, identity, image_list, image_path, parse, text
from inlay.recipes.data.sample import DataError, Sample, check_turns
from inlay.recipes.data.write import write_text

__all__ = ["MARKER", "read_llava", "write_llava"]

MARKER = "<image>"
_ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant"}
_NAMES: dict[str, str] = {role: name for name, role in _ROLES.items()}


def read_llava(path: str | Path, images: str | Path | None) -> list[Sample]:
    """Read a LLaVA JSON file.

    LLaVA-Instruct-150K uses the id of an image for every conversation about it, so an id may come again with another
    conversation and is then numbered (``000000033471#2``); the very same item twice is an error.

    Args:
        path: the JSON file.
        images: the folder of the images; None when no item has one.

    Returns:
        The samples in the order of the file; the images' paths are absolute. The images themselves are not looked at,
        see :func:`~inlay.recipes.data.sample.check_media`.

    Raises:
        DataError: names the file, the item (from 0) and the field.
    """
    path, root = Path(path), None if images is None else Path(images).absolute()
    items = parse(decode(file_bytes(path), str(path)), str(path))
    if not isinstance(items, list):
        raise DataError(f"{path}: expected a JSON list of items, got {_json_name(items)}")
    if not items:
        raise DataError(f"{path}: expected at least one item, got an empty list")
    samples = [_sample(item, root, f"{path}, item {index}", f"item-{index}") for index, item in enumerate(items)]
    return _with_unique_ids(samples)


def write_llava(path: str | Path, samples: Sequence[Sample], images: str | Path | None = None) -> None:
    """Write samples as a LLaVA JSON file; whoever reads it sees the old file or the new one, never half of it.

    Args:
        path: the JSON file; its folder must exist.
        samples: what to write.
        images: the folder that all images lie in; the file holds their paths relative to it.

    Raises:
        DataError: a sample that the format cannot hold: a system message, an image in memory or outside of the folder,
            a medium that is no image, or the text ``<image>``.
    """
    path = Path(path)
    root = None if images is None else Path(images).absolute()
    data = json.dumps([_item(sample, root) for sample in samples], ensure_ascii=False, indent=1) + "\n"
    write_text(path, data)


def _sample(item: object, root: Path | None, where: str, default_id: str) -> Sample:
    if not isinstance(item, dict):
        raise DataError(f"{where}: expected an object, got {_json_name(item)}")
    turns = item.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{where}, conversations: expected a list of turns, got {shown(turns)}")
    names = image_list(item.get("image"), f"{where}, image")
    values = [_value(turn, f"{where}, turn {number}") for number, turn in enumerate(turns)]
    markers = sum(value.count(MARKER) for _, value in values)
    if markers != len(names):
        raise DataError(
            f"{where}, image: {len(names)} image(s) for {markers} marker(s) {MARKER}; "
            + ("write a marker for every image" if markers < len(names) else "name an image for every marker")
        )
    paths = iter([image_path(name, root, f"{where}, image") for name in names])
    messages = []
    for role, value in values:
        content: list[Part] = [MediaPart("image", next(paths)) for _ in range(value.count(MARKER))]
        said = value.replace(MARKER, "").strip() if content else value
        messages.append(Message(role, (*content, TextPart(said)) if said else tuple(content)))
    check_turns(messages, where)
    return annotated(item, identity(item, where, default_id), tuple(messages), where)


def _value(turn: object, where: str) -> tuple[Role, str]:
    if not isinstance(turn, dict):
        raise DataError(f"{where}: expected an object with 'from' and 'value', got {_json_name(turn)}")
    name = turn.get("from")
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise DataError(f"{where}, from: expected {' or '.join(_ROLES)}, got {shown(name)}")
    value = text(turn.get("value"), f"{where}, value")
    if role == "assistant" and MARKER in value:
        raise DataError(f"{where}, value: {MARKER} stands in an answer; it is only allowed in what the human says")
    return role, value


def _with_unique_ids(samples: list[Sample]) -> list[Sample]:
    seen: dict[str, list[Sample]] = {}
    unique = []
    for sample in samples:
        before = seen.setdefault(sample.id, [])
        for other in before:
            if other.messages == sample.messages:
                raise DataError(f"{sample.origin}, id: {shown(sample.id)} with the same conversation as {other.origin}")
        before.append(sample)
        unique.append(sample if len(before) == 1 else _renamed(sample, f"{sample.id}#{len(before)}"))
    return unique


def _renamed(sample: Sample, name: str) -> Sample:
    return Sample(name, sample.messages, sample.origin, sample.kinds, sample.answers, sample.description)


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
        raise DataError(f"{where}: the text holds {MARKER}, which LLaVA's format reads as an image")
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
        raise DataError(f"{where}: {source} lies outside of the image folder {root}")
    return source.relative_to(root).as_posix()


def _json_name(value: object) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null"}.get(type(value), f"{shown(value)}")
