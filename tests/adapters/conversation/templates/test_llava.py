"""LLaVA's layouts: the rendered text, the trained text, and where media stand."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout, LayoutError, LayoutWarning, Media, Text, segments
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM

IMAGE = MediaPart("image", "x.png")


def two_turns() -> tuple[Message, ...]:
    return (
        Message("user", (IMAGE, TextPart("what colour?"))),
        Message("assistant", (TextPart("red"),)),
        Message("user", (TextPart("sure?"),)),
        Message("assistant", (TextPart("yes"),)),
    )


def rendered(laid: list[Any]) -> str:
    return "".join("<image>" if isinstance(segment, Media) else segment.text for segment in laid)


def trained(laid: list[Any]) -> str:
    return "|".join(segment.text for segment in laid if isinstance(segment, Text) and segment.trained and segment.text)


def test_vicuna_v1_matches_the_published_string(tokenizer_of: Any) -> None:
    laid = segments(Layout(template="vicuna_v1", system=VICUNA_SYSTEM), two_turns(), tokenizer_of())
    expected = f"{VICUNA_SYSTEM} USER: <image>\nwhat colour? ASSISTANT: red</s>USER: sure? ASSISTANT: yes</s>"
    assert rendered(laid) == expected


def test_vicuna_v1_trains_on_answers_and_their_end(tokenizer_of: Any) -> None:
    laid = segments(Layout(template="vicuna_v1"), two_turns(), tokenizer_of())
    assert trained(laid) == " |red|</s>| |yes|</s>"


def test_vicuna_v1_prompt_ends_without_a_space(tokenizer_of: Any) -> None:
    laid = segments(Layout(template="vicuna_v1"), two_turns()[:1], tokenizer_of(), generation=True)
    assert rendered(laid) == "USER: <image>\nwhat colour? ASSISTANT:"


def test_vicuna_v1_takes_the_system_of_the_conversation_first(tokenizer_of: Any) -> None:
    messages = (Message("system", (TextPart("Be brief."),)), *two_turns())
    laid = segments(Layout(template="vicuna_v1", system=VICUNA_SYSTEM), messages, tokenizer_of())
    assert rendered(laid).startswith("Be brief. USER: <image>")


def test_plain_leaves_the_question_out(tokenizer_of: Any) -> None:
    laid = segments(Layout(template="plain"), two_turns()[:2], tokenizer_of())
    assert rendered(laid) == "<image>red\n"
    assert trained(laid) == "red|\n"


def user(*content: Any) -> Message:
    return Message("user", tuple(TextPart(part) if isinstance(part, str) else part for part in content))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ((IMAGE, "what?"), "<image>\nwhat?"),
        ((IMAGE, IMAGE, "same?"), "<image>\n<image>\nsame?"),
        ((IMAGE,), "<image>"),
        (("A:", IMAGE, "B: ", IMAGE, "which", "one?"), "A: <image>\nB: <image>\nwhich one?"),
        ((IMAGE, "first,", IMAGE, "second"), "<image>\nfirst, <image>\nsecond"),
        (("these:", IMAGE, IMAGE), "these: <image>\n<image>"),
    ],
)
def test_several_media_stay_where_the_user_put_them(tokenizer_of: Any, content: Any, text: str) -> None:
    laid = segments(Layout(template="vicuna_v1"), (user(*content),), tokenizer_of(), generation=True)
    assert rendered(laid) == f"USER: {text} ASSISTANT:"


def test_media_between_words_stand_inside_the_layouts_prompt(tokenizer_of: Any) -> None:
    layout = Layout(template="vicuna_v1", prompt="Question: {} Short answer:")
    laid = segments(layout, (user(IMAGE, "A:", IMAGE, "B:", IMAGE),), tokenizer_of(), generation=True)
    assert rendered(laid) == "USER: <image>\nQuestion: A: <image>\nB: <image>\nShort answer: ASSISTANT:"


def test_a_prompt_without_the_users_words_has_the_media_in_front(tokenizer_of: Any) -> None:
    layout = Layout(template="vicuna_v1", prompt="Describe them.")
    with pytest.warns(LayoutWarning, match="media precede the prompt"):
        laid = segments(layout, (user("A:", IMAGE, "B:", IMAGE),), tokenizer_of(), generation=True)
    assert rendered(laid) == "USER: <image>\n<image>\nDescribe them. ASSISTANT:"


def test_the_only_medium_stands_in_front_as_published_and_a_warning_says_so(tokenizer_of: Any) -> None:
    with pytest.warns(LayoutWarning, match="only medium of a turn before"):
        laid = segments(
            Layout(template="vicuna_v1"), (user("what is", IMAGE, "this?"),), tokenizer_of(), generation=True
        )
    assert rendered(laid) == "USER: <image>\nwhat is this? ASSISTANT:"


def test_plain_warns_that_words_between_media_are_left_out(tokenizer_of: Any) -> None:
    with pytest.warns(LayoutWarning, match="leaves out the user's words"):
        laid = segments(Layout(template="plain"), (user("A:", IMAGE, "B:", IMAGE),), tokenizer_of(), generation=True)
    assert rendered(laid) == "<image><image>"


def test_an_empty_answer_is_history_without_loss(tokenizer_of: Any) -> None:
    first, _, second, last = two_turns()
    for nothing in ((), (TextPart(""),), (TextPart(" "),)):
        messages = (first, Message("assistant", nothing), second, last)
        laid = segments(Layout(template="vicuna_v1"), messages, tokenizer_of())
        assert rendered(laid) == "USER: <image>\nwhat colour? ASSISTANT:</s>USER: sure? ASSISTANT: yes</s>"
        assert trained(laid) == " |yes|</s>"


def test_a_tokenizer_without_eos_gets_advice(tokenizer_of: Any) -> None:
    tokenizer = tokenizer_of()
    tokenizer.eos_token = None
    with pytest.raises(LayoutError, match=r"set tokenizer\.eos_token, or choose"):
        segments(Layout(template="vicuna_v1"), two_turns(), tokenizer)
