"""ModaVerse's meta response: every text has a meaning."""

from __future__ import annotations

import pytest

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.meta_response import MetaResponse, parse_meta_response


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Modality: [TEXT] Prompt: two cats ###", MetaResponse("two cats")),
        ("Modality: [IMAGE] Prompt: a red disc ### Human: more", MetaResponse("a red disc", ("image",), said=False)),
        ("Modality: [AUDIO] [VIDEO] Prompt: rain", MetaResponse("rain", ("audio", "video"), said=False)),
        ("Modality: [VIDEO] [AUDIO] [AUDIO] Prompt: rain", MetaResponse("rain", ("audio", "video"), said=False)),
        ("Modality: [TEXT] [IMAGE] Prompt: rain", MetaResponse("rain", ("image",), said=True)),
        ("modality: [image] prompt: rain", MetaResponse("rain", ("image",), said=False)),
        # Malformed: no flag, no prompt, no words, two prompts, nothing.
        ("two cats", MetaResponse("two cats")),
        ("Modality: Prompt: red", MetaResponse("red")),
        ("[IMAGE] a red disc", MetaResponse("a red disc", ("image",), said=False)),
        ("Modality: [IMAGE]", MetaResponse("")),
        ("Modality: [IMAGE] Prompt:  ###", MetaResponse("")),
        ("Prompt: one Prompt: two [AUDIO]", MetaResponse("two", ("audio",), said=False)),
        ("", MetaResponse("")),
    ],
)
def test_what_is_meant(text: str, expected: MetaResponse) -> None:
    assert parse_meta_response(text) == expected


@pytest.mark.parametrize("response", [MetaResponse("a b"), MetaResponse("a", ("video", "image"), said=False)])
def test_what_is_written_is_read_again(response: MetaResponse) -> None:
    assert parse_meta_response(f" {response} ###") == response


def test_a_layout_reads_its_own_answers() -> None:
    modaverse = Layout.published("modaverse")
    assert modaverse.reply("Modality: [TEXT] Prompt: red ###") == "red"
    assert modaverse.reply("Modality: [IMAGE] Prompt: red ###") == ""
    assert Layout.published("nextgpt").read(" red\n### Human:") == MetaResponse("red")
