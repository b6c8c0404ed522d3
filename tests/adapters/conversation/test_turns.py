"""Order of turns and parts in the wrong turn."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.layout import LayoutError
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart, parse_messages
from inlay.adapters.conversation.turns import check_turns

IMAGE = MediaPart("image", "x.png")
ASKED = Message("user", (TextPart("what?"),))


@pytest.mark.parametrize(
    ("raw", "generation", "message"),
    [
        ([{"role": "assistant", "content": "hi"}], False, "turn 0: expected the user"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], False, "turn 1: expected the assistant"),
        ([{"role": "user", "content": "a"}], False, "last turn"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], True, "last turn"),
        ([{"role": "system", "content": "a"}], False, "at least one user turn"),
    ],
)
def test_turns_in_the_wrong_order_are_refused(raw: Any, generation: bool, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        check_turns(parse_messages(raw), generation=generation)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ((Message("system", (IMAGE,)), ASKED), "a message of the system: expected TextPart, got MediaPart"),
        ((Message("user", (MadePart("image", "x"),)),), "of the user: expected TextPart or MediaPart, got MadePart"),
        (
            (ASKED, Message("assistant", (IMAGE,)), ASKED),
            "of the assistant: expected TextPart or MadePart, got MediaPart",
        ),
    ],
)
def test_media_in_the_wrong_turn_are_refused(messages: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        check_turns(messages, generation=True)


def test_the_turns_are_returned_without_the_system_message() -> None:
    system, empty = Message("system", (TextPart("Hi."),)), Message("assistant", ())
    assert check_turns((system, ASKED, empty), generation=False) == (ASKED, empty)
