"""Arguments of chat, replies and answer that cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.messages import parse_messages
from inlay.adapters.conversation.segments import LayoutError

ASKED = parse_messages([{"role": "user", "content": "what is shown?"}])


@pytest.fixture
def model(backbone_of: Any, adapter_of: Any) -> Any:
    backbone = backbone_of()
    return adapter_of(backbone).eval().attach(backbone)


def test_one_name_for_each_conversation(model: Any) -> None:
    with pytest.raises(LayoutError, match="names: expected one for each of 2 conversations, got 1"):
        model.answer([ASKED, ASKED], names=["first"])


def test_an_exception_of_on_text_comes_through_unchanged(model: Any) -> None:
    """It is not reported as an option that generate refuses."""
    own = ValueError("the window was closed")

    def closed(_: str) -> None:
        raise own

    with pytest.raises(ValueError, match="window") as raised:
        model.chat([{"role": "user", "content": "what is shown?"}], on_text=closed, max_new_tokens=6)
    assert raised.value is own
