"""Layouts as chat templates: rendered by transformers, equal to the segments of the layout."""

from __future__ import annotations

from typing import Any

import pytest
from export_parts import CHATML
from transformers.utils.chat_template_utils import render_jinja_template

from inlay.adapters import Layout, MediaPart, Message, TextPart
from inlay.adapters.conversation.layout import segments
from inlay.adapters.conversation.segments import Media
from inlay.adapters.export.hf.chat_template import chat_template, plain, rendering_differences

NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
DATED = "{{ 'Today: ' ~ (strftime_now('%d %b %Y')) ~ '\n' }}" + CHATML
THINKING = CHATML + "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}"
LAYOUTS = {
    "vicuna": (Layout(template="vicuna_v1"), None),
    "a system text with quotes": (Layout(template="vicuna_v1", system='A "chat"\\ and\nmore \u00e9 \U0001f600.'), None),
    "a prompt": (Layout(template="vicuna_v1", prompt="{}\nAnswer in one word."), None),
    "plain": (Layout(template="plain"), None),
    "blip2": (Layout.published("blip2", prompt="Question: {} Short answer:"), None),
    "instructblip": (Layout.published("instructblip"), None),
    "chat": (Layout(template="chat"), CHATML),
    "chat with a system text": (Layout(template="chat", system='Be "brief".'), CHATML),
    "a template without a system role": (Layout(template="chat", system="Be brief."), NO_SYSTEM),
    "a date": (Layout(template="chat", date="2025-02-03"), DATED),
    "an argument": (Layout(template="chat", arguments={"enable_thinking": False}), THINKING),
}


def with_template(tokenizer: Any, own: str | None) -> Any:
    if own is not None:
        tokenizer.chat_template = own
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return tokenizer


@pytest.mark.filterwarnings("ignore:this tokenizer's chat template has no system role")
@pytest.mark.parametrize("case", list(LAYOUTS))
def test_a_chat_template_says_what_the_layout_says(tokenizer_of: Any, case: str) -> None:
    layout, own = LAYOUTS[case]
    tokenizer = with_template(tokenizer_of(), own)
    assert rendering_differences(chat_template(layout, tokenizer), layout, tokenizer) == []


PICTURE, ASKED = MediaPart("image", "picture"), TextPart("What is shown?")
TURNS = {
    "words before the only picture": (ASKED, PICTURE),
    "pictures between words": (TextPart("First"), PICTURE, TextPart("or second"), PICTURE, TextPart("?")),
    "a picture alone": (PICTURE,),
    "white space around the words": (PICTURE, TextPart("  What? \n")),
    "words in parts": (
        PICTURE,
        TextPart("What ("),
        TextPart("exactly"),
        TextPart(") is"),
        TextPart("it"),
        TextPart("?"),
    ),
}


@pytest.mark.filterwarnings("ignore:template 'vicuna_v1' puts")
@pytest.mark.parametrize("template", ["vicuna_v1", "chat"])
@pytest.mark.parametrize("case", list(TURNS))
def test_pictures_stand_where_the_layout_puts_them(tokenizer_of: Any, template: str, case: str) -> None:
    tokenizer = with_template(tokenizer_of(), CHATML if template == "chat" else None)
    layout, message = Layout(template=template), Message("user", TURNS[case])
    laid = segments(layout, [message], tokenizer, generation=True)
    expected = "".join("<image>" if isinstance(part, Media) else part.text for part in laid)
    render: Any = render_jinja_template
    texts, _ = render(
        conversations=[[plain(message)]], chat_template=chat_template(layout, tokenizer), add_generation_prompt=True
    )
    assert texts[0] == expected


def test_another_text_is_found(tokenizer_of: Any) -> None:
    layout, tokenizer = Layout(template="vicuna_v1"), tokenizer_of()
    changed = chat_template(layout, tokenizer).replace("USER: ", "USER:")
    found = rendering_differences(changed, layout, tokenizer)
    assert "expected 'USER: <image>" in found[0]
    assert "got 'USER:<image>" in found[0]
