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
        # The authors' parser: the first prompt counts, whatever it holds.
        ("Modality: [IMAGE] Prompt: a sign, Prompt: no", MetaResponse("a sign, Prompt: no", ("image",), said=False)),
        ("Prompt: one Prompt: two [AUDIO]", MetaResponse("one Prompt: two [AUDIO]", ("audio",), said=False)),
        ("Modality: [TEXT] Prompt: one\n  two\n", MetaResponse("one\n  two")),
        ("[IMAGE] my prompt: Prompt: a [text]", MetaResponse("a [text]", ("image",), said=False)),
        # Texts that it refuses: another case, no flag, no prompt, no words, nothing.
        ("two cats", MetaResponse("two cats")),
        ("Modality: Prompt: red", MetaResponse("red")),
        ("[IMAGE] a red disc", MetaResponse("a red disc", ("image",), said=False)),
        ("Modality: [IMAGE]", MetaResponse("")),
        ("Modality: [IMAGE] Prompt:  ###", MetaResponse("")),
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
