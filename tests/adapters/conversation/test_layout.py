"""Layouts: the rendered text, and which of it is trained on."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.layout import VICUNA_SYSTEM, Layout, LayoutError, Media, Text, segments
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart, parse_messages

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


@pytest.mark.parametrize("generation", [False, True])
def test_chat_renders_what_the_tokenizer_renders(tokenizer_of: Any, generation: bool) -> None:
    tokenizer = tokenizer_of(bos=False)
    turns = two_turns()[:3] if generation else two_turns()
    laid = segments(Layout(template="chat"), turns, tokenizer, generation=generation)
    plain = [{"role": turn.role, "content": turn.text} for turn in turns]
    plain[0]["content"] = "<image>\nwhat colour?"
    assert rendered(laid) == tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=generation)


def test_chat_trains_on_answers_up_to_the_end_of_turn_token(tokenizer_of: Any) -> None:
    laid = segments(Layout(template="chat"), two_turns(), tokenizer_of(bos=False))
    assert trained(laid) == "red|<|im_end|>|yes|<|im_end|>"


def test_chat_trains_on_what_a_template_writes_between_prompt_and_answer(tokenizer_of: Any) -> None:
    thinking = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
        "{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer = tokenizer_of(bos=False, chat_template=thinking)
    laid = segments(Layout(template="chat"), two_turns()[:2], tokenizer)
    assert trained(laid) == "<think>\n\n</think>\n\n|red|<|im_end|>"


def test_chat_puts_the_layouts_system_sentence_in_front(tokenizer_of: Any) -> None:
    laid = segments(Layout(template="chat", system="Be brief."), two_turns(), tokenizer_of(bos=False))
    assert rendered(laid).startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<image>")


def test_chat_refuses_a_template_without_an_end_of_answer(tokenizer_of: Any) -> None:
    endless = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    with pytest.raises(LayoutError, match="where generation should"):
        segments(Layout(template="chat"), two_turns(), tokenizer_of(bos=False, chat_template=endless))


def test_chat_refuses_a_template_that_drops_turns(tokenizer_of: Any) -> None:
    forgetful = "{{ messages[-1]['content'] }}<|im_end|>"
    with pytest.raises(LayoutError, match="drops or repeats"):
        segments(Layout(template="chat"), two_turns(), tokenizer_of(bos=False, chat_template=forgetful))


def test_chat_without_a_template_says_what_to_choose(tokenizer_of: Any) -> None:
    with pytest.raises(LayoutError, match="vicuna_v1"):
        segments(Layout(template="chat"), two_turns(), tokenizer_of(chat_template=None))


@pytest.mark.parametrize(
    ("raw", "generation", "message"),
    [
        ([{"role": "assistant", "content": "hi"}], False, "turn 0: expected the user"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], False, "turn 1: expected the assistant"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "  "}], False, "answer is empty"),
        ([{"role": "user", "content": "a"}], False, "last turn"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], True, "last turn"),
        ([{"role": "system", "content": "a"}], False, "at least one user turn"),
    ],
)
def test_turns_in_the_wrong_order_are_refused(tokenizer_of: Any, raw: Any, generation: bool, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        segments(Layout(template="vicuna_v1"), parse_messages(raw), tokenizer_of(), generation=generation)


def test_unknown_template_names_those_that_exist() -> None:
    with pytest.raises(LayoutError, match="plain, vicuna_v1, chat"):
        Layout(template="alpaca")
