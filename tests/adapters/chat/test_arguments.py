"""Arguments of chat, replies and answer that cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.chat.reply import ReplyError
from inlay.adapters.conversation.messages import parse_messages
from inlay.adapters.conversation.segments import LayoutError
from inlay.hub.errors import InlayError

ASKED = parse_messages([{"role": "user", "content": "what is shown?"}])


@pytest.fixture
def model(backbone_of: Any, adapter_of: Any) -> Any:
    backbone = backbone_of()
    return adapter_of(backbone).eval().attach(backbone)


def test_several_replies_to_one_chat_are_refused(model: Any) -> None:
    with pytest.raises(ReplyError, match=r"num_return_sequences=2; use model\.replies"):
        model.chat([{"role": "user", "content": "what?"}], do_sample=True, num_return_sequences=2, max_new_tokens=2)


@pytest.mark.parametrize("adapters", [None, []])
def test_no_conversation_has_no_answer(model: Any, adapters: Any) -> None:
    with pytest.raises(InlayError, match="at least one conversation"):
        model.answer([], adapters=adapters)


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
