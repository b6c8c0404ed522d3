"""The parts that a batch does not use."""

from __future__ import annotations

from typing import Any

import pytest
from attached import with_tokens

from inlay.adapters.adapter import Adapter
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MadePart, Message, TextPart
from inlay.adapters.llm_parts.token_rows import TokensConfig
from inlay.recipes.objectives.next_token.module import idle_parts
from inlay.recipes.systems.modaverse import TOKENS


def turns(*answer: Any) -> list[Message]:
    return [Message("user", (TextPart("what?"),)), Message("assistant", answer)]


@pytest.mark.parametrize(("template", "idle"), [("modaverse", False), ("vicuna_v1", True)])
def test_further_tokens_are_used_where_the_layout_writes_them(backbone_of: Any, template: str, idle: bool) -> None:
    backbone = backbone_of()
    layout, tokens = Layout(template=template), TokensConfig(width=backbone.llm.width, other=TOKENS)
    adapter = Adapter.for_backbone(backbone, system="modaverse", name="any", layout=layout, inputs={}, tokens=tokens)
    model = adapter.attach(backbone)
    assert ("adapter.tokens.input" in idle_parts(adapter, model.batch([turns(TextPart("red"))]))) == idle


@pytest.mark.parametrize(
    ("answer", "idle"), [((MadePart("image", "a disc"),), False), ((TextPart("red"),), True)], ids=["made", "text"]
)
def test_signal_tokens_are_used_by_generated_media(backbone_of: Any, answer: Any, idle: bool) -> None:
    backbone = backbone_of()
    model = with_tokens(backbone).attach(backbone)
    assert ("adapter.tokens.input" in idle_parts(model.adapter, model.batch([turns(*answer)]))) == idle
