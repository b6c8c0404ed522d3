"""Pieces of text as they are handed on, token by token."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.adapters.chat.meta_dispatch import dispatch
from inlay.adapters.chat.stream import TextStream, text_stream
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.language.generation.generate import Generation


class Spelling:
    """A tokenizer of characters, in which flags are one token."""

    FLAGS = ("[TEXT]", "[IMAGE]", "[AUDIO]", "[VIDEO]")

    def ids(self, text: str) -> list[int]:
        found = []
        while text:
            flag = next((n for n, mark in enumerate(self.FLAGS) if text.startswith(mark)), None)
            found.append(ord(text[0]) if flag is None else -1 - flag)
            text = text[1 if flag is None else len(self.FLAGS[flag]) :]
        return found

    def convert_tokens_to_ids(self, flags: list[str]) -> list[int]:
        return [-1 - self.FLAGS.index(flag) for flag in flags]

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(chr(number) for number in ids if number > 0)


class Llm:
    tokenizer = Spelling()


def streamed(text: str, layout: Layout) -> list[str]:
    """What is handed on at each token, and at the end."""
    pieces = [""]
    stream = text_stream(Llm(), layout, layout.stops, lambda piece: pieces.append(pieces.pop() + piece), 1, {})
    stream.put(torch.zeros(1, 0, dtype=torch.long))
    for number in Llm.tokenizer.ids(text):
        stream.put(torch.tensor([number]))
        pieces.append("")
    stream.end()
    return pieces


META = Layout.published("modaverse")


def test_every_word_is_handed_on_when_it_is_written() -> None:
    pieces = streamed("two cats", Layout.published("nextgpt"))
    assert pieces == [*"two cats", ""]


def test_a_stop_text_is_held_back_and_dropped() -> None:
    pieces = streamed("a #b\n###never", Layout.published("nextgpt"))
    assert "".join(pieces).rstrip() == "a #b"
    assert pieces[2] == ""
    assert pieces[3] == "#b"


def test_half_a_character_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter(["caf\ufffd", "café"])
    heard: list[str] = []
    stream = TextStream(Llm(), Layout.published("vicuna_v1"), (), heard.append)
    monkeypatch.setattr(stream, "text", lambda **_: next(texts))
    stream.put(torch.tensor([1]))
    stream.put(torch.tensor([2]))
    assert heard == ["caf", "é"]


@pytest.mark.parametrize(
    "text",
    [
        "Modality: [TEXT] Prompt: two cats ###",
        "Modality: [IMAGE] Prompt: a red disc ###",
        "Modality: [TEXT] [AUDIO] Prompt: rain ###",
        "two cats",
        "two cats###",
        "Modality: [VIDEO] Prompt:",
    ],
)
def test_of_a_meta_response_the_user_hears_what_the_reply_says(text: str) -> None:
    class Backbone:
        llm = Llm()

        def generator(self, modality: Any) -> Any:
            from inlay.adapters.loading.pretrained import BackboneError

            raise BackboneError(f"no {modality}")

    (reply,) = dispatch(Generation([Llm.tokenizer.ids(text)], ["stop"]), META, Backbone(), {})
    assert "".join(streamed(text, META)).strip() == reply.text


def test_a_prompt_is_not_held_back_once_it_has_begun() -> None:
    pieces = streamed("Modality: [TEXT] Prompt: two cats ###", META)
    heard = ["".join(pieces[: n + 1]) for n in range(len(pieces))]
    assert heard.index("two") < heard.index("two c") < len(heard) - 6
