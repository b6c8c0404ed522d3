"""Words in and out: each rule against sentences whose result is known."""

from __future__ import annotations

import pytest

from inlay.adapters.conversation.phrasing import after_last, blip_caption, blip_question, cut_at


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What's the dog's name?", "what's the dog's name?"),
        ('Is this "real" (or not)? ', "is this real or not?"),
        ("A:B;C~D#E*F.G!", "abcdefg"),
        ("", ""),
    ],
)
def test_questions_lose_their_marks_and_their_capitals(text: str, expected: str) -> None:
    assert blip_question(text) == expected


def test_a_long_question_keeps_its_first_fifty_words() -> None:
    words = [f"w{index}" for index in range(60)]
    assert blip_question(" ".join(words)).split() == words[:50]
    assert blip_question(" ".join(words[:50])).split() == words[:50]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("A cat.A dog!", "a cat a dog"), ("  two   dogs\n", "two dogs"), ("Don't, stop-it", "don't, stop-it")],
)
def test_captions_get_spaces_for_their_marks(text: str, expected: str) -> None:
    assert blip_caption(text) == expected


def test_text_is_cut_at_the_first_of_several_marks() -> None:
    assert cut_at("two\ncats###x", ["###", "\n"]) == "two"
    assert cut_at("two cats", ["###"]) == "two cats"


def test_only_what_follows_the_last_speaker_counts() -> None:
    assert after_last("Assistant: a ###Assistant: b", "Assistant:") == " b"
    assert after_last("no speaker", "Assistant:") == "no speaker"
    assert after_last("a b", "") == "a b"
