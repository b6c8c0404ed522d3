"""Canonical messages: encoded files in a part, and media that the assistant makes."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inlay.adapters.conversation.messages import (
    MadePart,
    MediaPart,
    Message,
    MessageError,
    TextPart,
    made_of,
    media_of,
    parse_messages,
)
from inlay.adapters.media.sources import MediaBytes


def said(*content: object) -> tuple[object, ...]:
    asked = {"role": "user", "content": "draw"}
    return parse_messages([asked, {"role": "assistant", "content": list(content)}])[1].content


def test_a_medium_in_memory_may_be_an_array() -> None:
    array = np.zeros((10, 12, 3), np.uint8)
    for key in ("image", "path"):
        (message,) = parse_messages([{"role": "user", "content": [{"type": "image", key: array}]}])
        assert message.content == (MediaPart("image", array),)
    with pytest.raises(MessageError, match="needs its source"):
        parse_messages([{"role": "user", "content": [{"type": "image", "path": ""}]}])


def test_a_medium_of_the_assistant_is_something_made() -> None:
    assert said("Here.", {"type": "image", "caption": " a disc "}) == (TextPart("Here."), MadePart("image", "a disc"))
    assert said({"type": "audio", "path": "7.wav"}) == (MadePart("audio", source=Path("7.wav")),)
    assert said(MediaPart("video", Path("3.mp4"))) == (MadePart("video", source=Path("3.mp4")),)
    part = MadePart("image", "a disc", None, Path("1.npy"))
    assert said({"type": "image", "caption": "a disc", "embedding": "1.npy"}) == (part,)
    assert made_of(parse_messages([{"role": "assistant", "content": [part]}])) == (part,)


def test_what_is_made_is_not_shown() -> None:
    made = {"role": "assistant", "content": [{"type": "image", "caption": "a disc"}]}
    assert media_of(parse_messages([made])) == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "image"}, "needs a 'caption', or a source"),
        ({"type": "image", "caption": 7}, "caption: expected a string, got int"),
        ({"type": "image", "caption": "a", "embedding": 7}, "embedding: expected the path"),
    ],
)
def test_bad_parts_are_named(content: object, message: str) -> None:
    with pytest.raises(MessageError, match=message):
        said(content)


def test_only_the_assistant_makes_media() -> None:
    with pytest.raises(MessageError, match="only the assistant generates media"):
        parse_messages([{"role": "user", "content": [MadePart("image", "a disc")]}])


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        (["a", "b"], "a b"),
        (["A:", "B:"], "A: B:"),
        (["a ", "b"], "a b"),
        (["a", "\nb"], "a\nb"),
        (["which", "one", "?"], "which one?"),
        (["(", "left", ")"], "(left)"),
        (["a", "", "b"], "a b"),
        (["Here.", "\ue0100\ue011", "More"], "Here.\ue0100\ue011More"),
        ([], ""),
    ],
)
def test_text_parts_do_not_fuse_words(texts: list[str], joined: str) -> None:
    assert Message("user", tuple(TextPart(text) for text in texts)).text == joined


def test_words_on_both_sides_of_a_medium_do_not_fuse() -> None:
    assert (
        Message("user", (TextPart("what is"), MediaPart("image", "x.png"), TextPart("this?"))).text == "what is this?"
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "at least one message, got an empty list"),
        ([{"role": "user", "content": []}], "message 0: content: expected text or at least one part from the user"),
        ([Message("user", ())], "message 0: content: expected text or at least one part from the user"),
        ([{"role": "system", "content": []}], "from the system, got an empty list"),
    ],
)
def test_nothing_said_is_refused(raw: object, message: str) -> None:
    with pytest.raises(MessageError, match=message):
        parse_messages(raw)


@pytest.mark.parametrize("content", ["", [], ()])
def test_an_answer_may_be_empty(content: object) -> None:
    asked = {"role": "user", "content": "draw"}
    assert parse_messages([asked, {"role": "assistant", "content": content}])[1].text == ""


@pytest.mark.parametrize(
    "content",
    ["a\ud800b", ["a\ud800b"], [{"type": "text", "text": "a\ud800b"}], [{"type": "image", "caption": "a\ud800b"}]],
)
def test_half_of_a_character_is_refused(content: object) -> None:
    r"""JSON may hold "\ud800", which no tokenizer takes."""
    with pytest.raises(MessageError, match=r"message 0: content.* got the lone surrogate U\+D800 at character 1"):
        parse_messages([{"role": "assistant", "content": content}])


def test_an_array_is_a_source() -> None:
    """It has no truth value."""
    picture = np.zeros((4, 5, 3), np.uint8)
    (message,) = parse_messages([{"role": "user", "content": [{"type": "image", "image": picture}]}])
    assert message.content == (MediaPart("image", picture),)


PIXEL = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    "part",
    [
        {"data": PIXEL},
        {"data": base64.b64encode(PIXEL).decode()},
        {"data": "data:image/png;base64," + base64.b64encode(PIXEL).decode()},
        {"image": PIXEL},
        {"path": "data:image/png;base64," + base64.b64encode(PIXEL).decode()},
    ],
)
def test_a_part_may_hold_the_encoded_file_itself(part: dict[str, Any]) -> None:
    [message] = parse_messages([{"role": "user", "content": [{"type": "image", **part}]}])
    assert message.content == (MediaPart("image", MediaBytes(PIXEL)),)


@pytest.mark.parametrize(("data", "said"), [("a!", "data: expected base64"), (7, "data: expected bytes, base64 or")])
def test_data_that_are_no_file_are_an_error(data: Any, said: str) -> None:
    with pytest.raises(MessageError, match=re.escape(f"message 0: content[0]: {said}")):
        parse_messages([{"role": "user", "content": [{"type": "image", "data": data}]}])
