"""The LLM's own chat template: the rendered text, the trained text, system texts and dates."""

from __future__ import annotations

import copy
import datetime
import json
import warnings
from contextlib import nullcontext as nothing
from typing import Any

import pytest

from inlay.adapters.adapter import Adapter
from inlay.adapters.conversation.layout import Layout, LayoutError, LayoutWarning, Media, Text, segments
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart

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
    with pytest.raises(LayoutError, match="drops, repeats"):
        segments(Layout(template="chat"), two_turns(), tokenizer_of(bos=False, chat_template=forgetful))


def test_chat_without_a_template_says_what_to_choose(tokenizer_of: Any) -> None:
    with pytest.raises(LayoutError, match="vicuna_v1"):
        segments(Layout(template="chat"), two_turns(), tokenizer_of(chat_template=None))


STYLES = ["qwen2.5", "smollm2", "llama3", "llama3.1", "llama3.2", "gemma", "mistral", "phi3"]
SYSTEM = Message("system", (TextPart("Be brief."),))


@pytest.mark.parametrize("generation", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_every_style_renders_what_its_tokenizer_renders(
    tokenizer_of: Any, styled: Any, style: str, generation: bool
) -> None:
    tokenizer = styled(tokenizer_of(), style)
    layout = Layout(template="chat", date="2026-11-28")
    turns = two_turns()[:3] if generation else two_turns()
    plain = [{"role": turn.role, "content": turn.text} for turn in turns]
    plain[0]["content"] = "<image>\nwhat colour?"
    day = {"date_string": "28 Nov 2026"}
    expected = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=generation, **day)
    assert rendered(segments(layout, turns, tokenizer, generation=generation)) == expected


@pytest.mark.parametrize("style", ["qwen2.5", "smollm2", "llama3", "llama3.2", "phi3"])
def test_a_system_role_of_the_template_is_used(tokenizer_of: Any, styled: Any, style: str) -> None:
    tokenizer = styled(tokenizer_of(), style)
    plain = [{"role": turn.role, "content": turn.text} for turn in (SYSTEM, *two_turns())]
    plain[1]["content"] = "<image>\nwhat colour?"
    laid = segments(Layout(template="chat"), (SYSTEM, *two_turns()), tokenizer)
    assert rendered(laid) == tokenizer.apply_chat_template(plain, tokenize=False, date_string="26 Jul 2024")


@pytest.mark.parametrize("style", ["gemma", "mistral", "llama3.1"])
def test_without_a_system_role_the_system_text_precedes_the_first_words(
    tokenizer_of: Any, styled: Any, style: str
) -> None:
    tokenizer = styled(tokenizer_of(), style)
    if style == "llama3.1":  # a template that drops the system message without an error
        tokenizer.chat_template = tokenizer.chat_template.replace(
            "in messages", "in messages if message.role != 'system'"
        )
    for turns, generation in ((two_turns(), False), (two_turns()[:3], True), (two_turns()[:1], True)):
        with pytest.warns(LayoutWarning, match="no system role") if generation is False else nothing():
            laid = segments(Layout(template="chat"), (SYSTEM, *turns), tokenizer, generation=generation)
        plain = [{"role": turn.role, "content": turn.text} for turn in turns]
        plain[0]["content"] = "Be brief.\n\n<image>\nwhat colour?"
        expected = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=generation)
        assert rendered(laid) == expected


def test_the_warning_about_the_system_role_is_given_once_a_layout(tokenizer_of: Any, styled: Any) -> None:
    tokenizer = styled(tokenizer_of(), "gemma")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            segments(Layout(template="chat", system="Be brief."), two_turns(), tokenizer)
        segments(Layout(template="chat", system="Be kind."), two_turns(), tokenizer)
    assert [item.category for item in caught] == [LayoutWarning] * 2


def test_an_error_of_the_template_becomes_advice(tokenizer_of: Any) -> None:
    tokenizer = tokenizer_of(bos=False, chat_template="{{ raise_exception('only tools') }}")
    with pytest.raises(LayoutError, match=r"refuses turns of user, assistant.*only tools; choose 'vicuna_v1'"):
        segments(Layout(template="chat"), two_turns()[:2], tokenizer)


def clock(monkeypatch: pytest.MonkeyPatch, *day: int) -> None:
    """Set the clock of transformers' chat templates."""

    class Frozen(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(*day)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Frozen)


def test_a_prompt_is_the_same_on_every_day(tokenizer_of: Any, styled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = styled(tokenizer_of(), "llama3.2")
    plain = [{"role": "user", "content": "<image>\nwhat colour?"}]
    prompts = []
    for day in ((2024, 7, 26), (2026, 11, 28), (2031, 1, 2)):
        clock(monkeypatch, *day)
        prompts.append(rendered(segments(Layout(template="chat"), two_turns()[:1], tokenizer, generation=True)))
        same = prompts[-1] == tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
        assert same is (day == (2024, 7, 26))
    assert len(set(prompts)) == 1


@pytest.mark.parametrize("style", ["llama3.1", "llama3.2"])
def test_a_layout_has_a_date_of_its_own(tokenizer_of: Any, styled: Any, style: str) -> None:
    laid = segments(Layout(template="chat", date="2026-01-09"), two_turns(), styled(tokenizer_of(), style))
    assert "Today Date: 09 Jan 2026" in rendered(laid)


@pytest.mark.parametrize("form", ["%A, %d %B %Y (%y-%m-%-d) %H:%M %j", "%d %b %Y", "%Y-%m-%d", "today", "%B"])
@pytest.mark.parametrize("start", ["", "\n", "  ", "\n  {% if true %} {% endif %}\n", "{%- if true %}\n{%- endif %}"])
def test_a_date_is_written_as_transformers_writes_it(
    tokenizer_of: Any, monkeypatch: pytest.MonkeyPatch, form: str, start: str
) -> None:
    template = (
        start
        + "{% set day = strftime_now(FORM) %} {{ day }}|{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    )
    tokenizer = tokenizer_of(bos=False, chat_template=template.replace("FORM", repr(form)))
    turns = (Message("user", (TextPart("what?"),)), Message("assistant", (TextPart("red"),)))
    clock(monkeypatch, 2026, 1, 9)
    plain = [{"role": turn.role, "content": turn.text} for turn in turns]
    laid = segments(Layout(template="chat", date="2026-01-09"), turns, tokenizer)
    assert rendered(laid) == tokenizer.apply_chat_template(plain, tokenize=False)


def test_a_bundle_stores_the_date_of_a_dated_template(
    backbone_of: Any, adapter_of: Any, styled: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dated, plain = backbone_of(), backbone_of()
    dated.llm.tokenizer.chat_template = styled(copy.deepcopy(dated.llm.tokenizer), "llama3.2").chat_template.replace(
        "<|eot_id|>", "<|im_end|>"
    )
    for backbone, date, version in ((dated, "2024-07-26", 2), (plain, None, 1)):
        adapter = adapter_of(backbone, template="chat")
        adapter.save_pretrained(tmp_path / str(date))
        written = json.loads((tmp_path / str(date) / "inlay.json").read_text())
        assert (written["layout"].get("date"), written["format_version"]) == (date, version)
        loaded = Adapter.from_pretrained(tmp_path / str(date))
        assert loaded.layout == adapter.layout
        clock(monkeypatch, 2031, 1, 2)
        prompts = [segments(one.layout, two_turns(), backbone.llm.tokenizer) for one in (adapter, loaded)]
        assert prompts[0] == prompts[1]


def test_a_layout_gets_an_explicit_date_only_for_templates_that_write_one(tokenizer_of: Any, styled: Any) -> None:
    layout = Layout(template="chat")
    for style in STYLES:
        dated = layout.dated(styled(tokenizer_of(), style))
        assert dated.date == ("2024-07-26" if style == "llama3.2" else None)
    llama = styled(tokenizer_of(), "llama3.2")
    assert segments(layout.dated(llama), two_turns(), llama) == segments(layout, two_turns(), llama)
    assert Layout(template="chat", date="2026-01-09").dated(llama).date == "2026-01-09"
    assert Layout(template="vicuna_v1").dated(llama).date is None
    assert Layout(template="chat").dated(tokenizer_of(chat_template=None)).date is None


def test_media_stay_where_the_user_put_them(tokenizer_of: Any) -> None:
    content = (TextPart("A:"), IMAGE, TextPart("B: "), IMAGE, TextPart("which"), TextPart("one?"))
    laid = segments(Layout(template="chat"), (Message("user", content),), tokenizer_of(bos=False), generation=True)
    assert "<|im_start|>user\nA: <image>\nB: <image>\nwhich one?<|im_end|>" in rendered(laid)


def test_a_medium_behind_the_words_stays_there(tokenizer_of: Any) -> None:
    turn = Message("user", (TextPart("what is it?"), IMAGE))
    laid = segments(Layout(template="chat"), (turn,), tokenizer_of(bos=False), generation=True)
    assert "<|im_start|>user\nwhat is it? <image><|im_end|>" in rendered(laid)


@pytest.mark.parametrize("style", STYLES)
def test_an_empty_answer_is_history_without_loss(tokenizer_of: Any, styled: Any, style: str) -> None:
    tokenizer = styled(tokenizer_of(), style)
    first, _, second, last = two_turns()
    messages = (first, Message("assistant", ()), second, last)
    laid = segments(Layout(template="chat"), messages, tokenizer)
    plain = [{"role": turn.role, "content": turn.text} for turn in messages]
    plain[0]["content"] = "<image>\nwhat colour?"
    assert rendered(laid) == tokenizer.apply_chat_template(plain, tokenize=False, date_string="26 Jul 2024")
    assert trained(laid).strip(" |").startswith("yes|")


@pytest.mark.parametrize("template", ["{{ 1 // 0 }}", "{% for i in range(10 ** 9) %}{% endfor %}"])
def test_an_error_of_the_template_in_numbers_becomes_advice(tokenizer_of: Any, template: str) -> None:
    tokenizer = tokenizer_of(bos=False, chat_template=template)
    with pytest.raises(LayoutError, match="refuses turns of user, assistant"):
        segments(Layout(template="chat"), two_turns(), tokenizer)
