"""What the assistant makes, in canonical messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlay.adapters.conversation.messages import (
    MadePart,
    MediaPart,
    MessageError,
    TextPart,
    made_of,
    media_of,
    parse_messages,
)


def said(*content: object) -> tuple[object, ...]:
    asked = {"role": "user", "content": "draw"}
    return parse_messages([asked, {"role": "assistant", "content": list(content)}])[1].content


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
    with pytest.raises(MessageError, match="only the assistant makes media"):
        parse_messages([{"role": "user", "content": [MadePart("image", "a disc")]}])
