"""ModaVerse's way out: what is written in words is made by generators with their own text encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from senses_models import CodeBook, caption_in

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.meta_dispatch import dispatch, spelled
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MadePart, Message, TextPart
from inlay.adapters.conversation.meta_response import FLAGS
from inlay.adapters.conversation.templates.any_to_any import MEDIA_TOKENS
from inlay.adapters.inputs import LinearConfig
from inlay.adapters.language.generation.generate import Generation
from inlay.adapters.llm_parts.token_rows import TokensConfig

CAPTIONS = ("rain", "a disc")


@pytest.fixture
def model(llm_of: Any, clip_of: Any) -> Any:
    """A ModaVerse with generators of pictures and sounds."""
    generators = {name: CodeBook(name, CAPTIONS) for name in ("image", "audio")}
    backbone = Backbone(llm_of("llama"), {"image": clip_of()}, generators=generators)
    adapter = Adapter.for_backbone(
        backbone,
        system="modaverse",
        name="tiny",
        layout=Layout.published("modaverse"),
        inputs={"image": LinearConfig()},
        tokens=TokensConfig(width=backbone.llm.width, other=(*MEDIA_TOKENS, *FLAGS.values())),
    )
    return adapter.attach(backbone)


def ids_of(model: Any, *texts: str) -> Sequence[Sequence[int]]:
    return [model.backbone.llm.tokenizer(text, add_special_tokens=False).input_ids for text in texts]


def test_flags_stay_and_other_special_tokens_go(model: Any) -> None:
    (ids,) = ids_of(model, "Modality: [IMAGE] Prompt: <Media>rain</s>")
    assert spelled(ids, model.backbone.llm) == "Modality: [IMAGE] Prompt: rain"


def test_each_answer_gets_its_own_media(model: Any) -> None:
    rows = ids_of(
        model,
        "Modality: [IMAGE] Prompt: a disc ###",
        "Modality: [TEXT] Prompt: two ###",
        "Modality: [AUDIO] [IMAGE] Prompt: rain ###",
        "Modality: [VIDEO] Prompt: rain ###",
    )
    first, second, third, fourth = dispatch(
        Generation(rows, ["stop"] * len(rows)), model.adapter.layout, model.backbone, {}
    )
    assert [caption_in(medium) for medium in first.media] == ["a disc"]
    assert (first.text, second.text, second.media) == ("", "two", ())
    assert [(part.modality, part.caption, caption_in(part.source)) for part in third.parts] == [
        ("audio", "rain", "rain"),
        ("image", "rain", "rain"),
    ]
    assert fourth.parts == (MadePart("video", "rain"),)
    assert "no generator for 'video'" in fourth.missing[0]
    assert [reply.tokens for reply in (first, second)] == [len(rows[0]), len(rows[1])]


def test_chat_reads_what_the_model_writes(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ids_of(model, "Modality: [AUDIO] Prompt: rain ###")
    monkeypatch.setattr(model.backbone.llm, "generate", lambda *_, **__: Generation(rows, ["stop"]))
    reply = model.chat([{"role": "user", "content": "make it rain"}])
    assert caption_in(reply.media[0]) == "rain"
    again = model.encode(
        [Message("user", (TextPart("a"),)), Message("assistant", reply.parts), Message("user", (TextPart("b"),))],
        generation=True,
    )
    assert "Modality: [AUDIO] Prompt: rain ###" in model.backbone.llm.tokenizer.decode(again.ids)
