"""Templates of your own: what is checked when they are registered, and that layouts find them."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout, LayoutError, segments
from inlay.adapters.conversation.messages import Message, TextPart
from inlay.adapters.conversation.segments import Segment, Text
from inlay.adapters.conversation.template import Dialogue, Template, answer
from inlay.adapters.conversation.templates.registry import register_template, template_named

pytestmark = pytest.mark.usefixtures("own_registrations")


def shout(dialogue: Dialogue) -> list[Segment]:
    laid: list[Segment] = []
    for message in dialogue.turns:
        laid += answer(message, "!") if message.role == "assistant" else [Text(dialogue.words(message).upper())]
    return laid


def test_a_layout_uses_a_registered_template(tokenizer_of: Any) -> None:
    register_template("shout", Template(shout, bos="none", stop=("!",)))
    layout = Layout.published("shout")
    said = (Message("user", (TextPart("what?"),)), Message("assistant", (TextPart("red"),)))
    assert "".join(segment.text for segment in segments(layout, said, tokenizer_of())) == "WHAT? red!"
    assert (layout.bos, layout.stop, layout.reply("red! blue")) == ("none", ("!",), "red")


def test_the_same_template_may_be_registered_again_and_another_not() -> None:
    register_template("shout", Template(shout))
    register_template("shout", Template(shout))
    with pytest.raises(LayoutError, match="another template has this name"):
        register_template("shout", Template(shout, bos="none"))
    with pytest.raises(LayoutError, match="another template has this name"):
        register_template("plain", Template(shout))


@pytest.mark.parametrize(
    ("name", "template", "message"),
    [
        ("two words", Template(shout), "expected a name of letters"),
        ("x" * 200, Template(shout), "expected a name of letters"),
        (7, Template(shout), "expected a name of letters"),
        ("shout", shout, r"expected a Template, got function"),
        ("shout", Template(isinstance), "a function of one argument"),
        ("shout", Template(None), "a function of one argument"),
        ("shout", Template(shout, bos="last"), "bos: expected first, after_media, none, got 'last'"),
        ("shout", Template(shout, stop="###"), "stop: expected a tuple of texts"),
        ("shout", Template(shout, stop=("",)), "stop: expected a tuple of texts"),
    ],
)
def test_a_bad_template_is_refused(name: Any, template: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        register_template(name, template)


def test_an_unknown_name_says_how_to_add_one() -> None:
    with pytest.raises(
        LayoutError, match=r"expected one of plain, .*got 'alpaca'; .*--import MODULE.*register_template"
    ):
        template_named("alpaca")
