"""What templates share: the user's turn as pieces, the answer as segments."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart
from inlay.adapters.conversation.segments import LayoutError, Text
from inlay.adapters.conversation.template import Dialogue, answer, is_empty, media_lead

A, B = MediaPart("image", "a.png"), MediaPart("audio", "b.wav")


def user(*content: Any) -> Message:
    return Message("user", tuple(TextPart(part) if isinstance(part, str) else part for part in content))


def pieces(*content: Any, prompt: str = "{}") -> list[Any]:
    return Dialogue(turns=(), tokenizer=None, prompt=prompt).pieces(user(*content))


@pytest.mark.parametrize(
    ("content", "lead"),
    [((), True), (("a",), True), ((A, B, "a"), True), ((" ", A, "a"), True), (("a", A), False), ((A, "a", B), False)],
)
def test_media_lead_if_no_word_precedes_them(content: Any, lead: bool) -> None:
    assert media_lead(user(*content)) is lead


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ((A, B, " what?"), [A, B, " what?"]),
        ((A,), [A, ""]),
        ((A, "one", "two"), [A, "one two"]),
        (("x", A, " y ", "z", B), ["x", A, "y z", B]),
        ((A, "x", B, "  "), [A, "x", B]),
    ],
)
def test_pieces_are_in_the_order_of_the_message(content: Any, expected: list[Any]) -> None:
    assert pieces(*content) == expected


def test_the_prompt_is_around_the_words() -> None:
    assert pieces(A, "x", prompt="Q: {} A:") == [A, "Q: x A:"]
    assert pieces(A, "x", B, "y", prompt="Q: {} A:") == [A, "Q: x", B, "y A:"]
    assert pieces("x", B, prompt="Q: {} A:") == ["Q: x", B, "A:"]


@pytest.mark.parametrize(("prompt", "words"), [("Describe.", "Describe."), ("{} or {}", "x or x")])
def test_a_prompt_without_one_place_for_media_has_them_in_front(prompt: str, words: str) -> None:
    dialogue = Dialogue(turns=(), tokenizer=None, prompt=prompt)
    assert dialogue.pieces(user("x", A)) == [A, words]
    assert len(dialogue.notes) == 1


def test_an_answer_is_trained_with_its_end_and_an_empty_one_is_not() -> None:
    said = Message("assistant", (TextPart("red"),))
    assert answer(said, "</s>") == [Text(" ", True), Text("red", True, literal=False), Text("</s>", True)]
    for parts in ((), (TextPart(" \n"),)):
        assert is_empty(Message("assistant", parts))
        assert answer(Message("assistant", parts), "</s>") == [Text("</s>")]


def test_media_of_the_assistant_need_signal_tokens() -> None:
    with pytest.raises(LayoutError, match="no signal tokens; add token rows"):
        answer(Message("assistant", (MadePart("image", "a disc"),)))


def test_an_end_of_sequence_token_is_asked_for_only_where_it_is_needed() -> None:
    assert Dialogue(turns=(), tokenizer=SimpleNamespace(eos_token="</s>")).eos == "</s>"
    with pytest.raises(LayoutError, match="the tokenizer has none"):
        _ = Dialogue(turns=(), tokenizer=SimpleNamespace(eos_token=None)).eos
