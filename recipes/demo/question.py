"""A question to the demo: the conversation so far, its pictures as bytes, and decoding options.

The server keeps no conversation: the browser sends the whole of it each time, so nothing is kept between two requests
and no user sees another's pictures. A picture is bytes and nothing else; no path and no address is read from a request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, TextPart
from inlay.adapters.media.budget import BUDGET
from inlay.adapters.media.image import load_image_bytes
from inlay.adapters.media.modality import GENERATED
from inlay.hub.safety.strict_json import read_object
from inlay.hub.safety.text import shown
from inlay.recipes.demo.form import Field
from inlay.recipes.demo.limits import DemoError, Limits

__all__ = ["Question", "read_question"]

_WHOLE = re.compile(r"[0-9]{1,20}")
_DECIMAL = re.compile(r"[0-9]{1,4}(\.[0-9]{1,8})?")
_MAX_TEMPERATURE = 2.0
_MAX_TEXT = 1 << 20  # bytes of the conversation
_KEYS = {
    "user": ({"role", "text"}, {"role", "text", "pictures"}),
    "assistant": ({"role", "text"}, {"role", "text", "made"}),
}
_MAX_MADE = 8  # media of an answer


@dataclass(frozen=True)
class Turn:
    """One turn, checked."""

    role: Any
    text: str
    pictures: tuple[bytes, ...]
    made: tuple[MadePart, ...] = ()
    """The media that the assistant generated, without their bytes, which stay in the browser."""


@dataclass(frozen=True)
class Question:
    """A conversation that ends with the user's turn."""

    turns: tuple[Turn, ...]
    options: dict[str, Any]
    """For ``generate``, cut to the limits."""

    def messages(self, pixels: int) -> list[Message]:
        """Decode the pictures; only this takes memory for pixels.

        Args:
            pixels: the largest number of pixels of all pictures together.

        Raises:
            MediaError: not a JPEG, PNG or WebP by its content, damaged, or too large.
        """
        messages, count = [], 0
        for turn in self.turns:
            parts: list[Part] = []
            for data in turn.pictures:
                count += 1
                picture = load_image_bytes(data, f"picture {count}", budget=replace(BUDGET, pixels=pixels))
                pixels -= picture.width * picture.height
                parts.append(MediaPart("image", picture))
            words = [TextPart(turn.text)] if turn.text.strip() else []
            messages.append(Message(turn.role, (*parts, *words, *turn.made)))
        return messages


def read_question(fields: Sequence[Field], limits: Limits) -> Question:
    """Check a form's fields.

    Args:
        fields: ``conversation``, JSON: ``{"turns": [{"role", "text", "pictures", "made"}]}`` where ``pictures`` says
            how many of the fields ``picture`` belong to a user's turn, and ``made`` what the assistant made, each
            ``{"modality", "caption"}``; ``max_new_tokens`` and ``temperature`` if wanted.
        limits: what it may cost.

    Raises:
        InlayError: names the field, what was expected and what came.

    Example:
        >>> asked = [Field("conversation", b'{"turns": [{"role": "user", "text": "hello"}]}')]
        >>> read_question(asked, Limits()).turns
        (Turn(role='user', text='hello', pictures=(), made=()),)
    """
    pictures = [field.data for field in fields if field.name == "picture"]
    if len(pictures) > limits.pictures:
        raise DemoError(f"{len(pictures)} pictures: a conversation has at most {limits.pictures}", status=413)
    others = [field for field in fields if field.name != "picture"]
    single = {field.name: field.data for field in others}
    known = {"conversation", "max_new_tokens", "temperature"}
    if len(single) != len(others) or not single.keys() <= known:
        raise DemoError(f"expected the fields picture, {', '.join(sorted(known))}, each of the latter once")
    document = read_object(single.get("conversation", b""), "conversation", max_bytes=_MAX_TEXT)
    return Question(_turns(document.get("turns"), pictures, limits), _options(single, limits))


def _turns(raw: object, pictures: list[bytes], limits: Limits) -> tuple[Turn, ...]:
    if not isinstance(raw, list) or not 0 < len(raw) <= limits.turns or len(raw) % 2 == 0:
        raise DemoError(
            f"conversation: expected at most {limits.turns} turns, user and assistant in turn, the user last; "
            "start a new conversation"
        )
    turns = []
    for number, item in enumerate(raw):
        where, role = f"conversation: turn {number}", "assistant" if number % 2 else "user"
        if not isinstance(item, dict) or item.keys() not in _KEYS[role] or item["role"] != role:
            more = "pictures" if role == "user" else "made"
            raise DemoError(f"{where}: expected an object with role {role!r}, text and, if it has some, {more}")
        text, count = item["text"], item.get("pictures", 0)
        if not isinstance(text, str) or len(text) > limits.characters or (role == "user" and not text.strip()):
            raise DemoError(f"{where}: text: expected 1 to {limits.characters:,} characters")
        if type(count) is not int or not 0 <= count <= (len(pictures) if role == "user" else 0):
            raise DemoError(f"{where}: pictures: expected how many of the uploaded pictures it has, got {shown(count)}")
        turns.append(Turn(role, text, tuple(pictures[:count]), _made(item.get("made", []), where, limits)))
        pictures = pictures[count:]
    if pictures:
        raise DemoError(f"conversation: {len(pictures)} uploaded pictures belong to no turn")
    return tuple(turns)


def _made(raw: object, where: str, limits: Limits) -> tuple[MadePart, ...]:
    """Media without their bytes: kind, and the caption that a layout of captions writes again."""
    wrong = DemoError(
        f"{where}: made: expected at most {_MAX_MADE} objects with modality ({', '.join(GENERATED)}) and "
        f"caption, at most {limits.characters:,} characters"
    )
    if not isinstance(raw, list) or len(raw) > _MAX_MADE:
        raise wrong
    for item in raw:
        if not isinstance(item, dict) or item.keys() != {"modality", "caption"}:
            raise wrong
        if item["modality"] not in GENERATED or not isinstance(item["caption"], str):
            raise wrong
        if len(item["caption"]) > limits.characters:
            raise wrong
    return tuple(MadePart(item["modality"], item["caption"]) for item in raw)


def _options(single: dict[str, bytes], limits: Limits) -> dict[str, Any]:
    tokens = _number(single, "max_new_tokens", _WHOLE, "a whole number of 1 or more")
    heat = _number(single, "temperature", _DECIMAL, f"0 (always the likeliest) to {_MAX_TEMPERATURE:g}")
    options: dict[str, Any] = {} if tokens is None else {"max_new_tokens": min(int(tokens), limits.new_tokens)}
    if tokens is not None and int(tokens) < 1:
        raise DemoError("max_new_tokens: expected a whole number of 1 or more, got 0")
    if heat is not None and float(heat) > 0:
        # Close to 0 the logits would overflow in half precision.
        options |= {"do_sample": True, "temperature": min(max(float(heat), 0.05), _MAX_TEMPERATURE)}
    return options


def _number(single: dict[str, bytes], name: str, form: re.Pattern[str], expected: str) -> str | None:
    """ASCII digits only: Python's own readers take NaN, underscores and every script's digits."""
    if name not in single:
        return None
    text = single[name].decode("utf-8", "replace").strip(" ")
    if form.fullmatch(text) is None:
        raise DemoError(f"{name}: expected {expected}, got {shown(text)}")
    return text
