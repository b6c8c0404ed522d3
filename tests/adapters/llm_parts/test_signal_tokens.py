"""Marks stand for media, and no text can stand for one."""

from __future__ import annotations

import pytest

from inlay.adapters.conversation.messages import MadePart, Message, TextPart
from inlay.adapters.conversation.segments import LayoutError, Text
from inlay.adapters.llm_parts.signal_tokens import Signals, mark, unmark

SIGNALS = Signals({"image": ("[IMG0]", "[IMG1]")})
DISC = MadePart("image", "a disc")
FORGED = ["\ue0100\ue011", "say \ue01012\ue011 again"]


def test_marks_become_signal_tokens_in_their_places() -> None:
    (message,) = mark([Message("assistant", (TextPart("see "), DISC, TextPart(".")))])
    text = "".join(part.text for part in message.content if isinstance(part, TextPart))
    laid, kept = unmark([Text(text, trained=True, literal=False)], [DISC], SIGNALS)
    assert [segment.text for segment in laid] == ["see ", "[IMG0][IMG1]", "."]
    assert [segment.literal for segment in laid] == [False, True, False]
    assert all(segment.trained for segment in laid)
    assert kept == (DISC,)


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
@pytest.mark.parametrize("text", FORGED)
def test_a_text_that_contains_a_mark_is_refused_in_every_role(role: str, text: str) -> None:
    with pytest.raises(LayoutError, match=f"'{role}' contains a number between the characters"):
        mark([Message(role, (TextPart(text),)), Message("assistant", (DISC,))])


@pytest.mark.parametrize("system", [*FORGED, "\ue010" + "9" * 5000 + "\ue011", "\ue01000\ue011"])
def test_a_mark_in_a_text_of_the_layout_is_refused(system: str) -> None:
    """A system text comes from a bundle; it must neither index media nor end in a raw error."""
    (message,) = mark([Message("assistant", (DISC,))])
    laid = [Text(system, trained=False), *(Text(part.text, trained=True) for part in message.content)]
    with pytest.raises(LayoutError, match="a text of the layout contains"):
        unmark(laid, [DISC], SIGNALS)


def test_the_characters_alone_and_other_digits_are_text() -> None:
    words = "\ue010x\ue011 \ue011 \ue010\u0663\ue011"
    (message,) = mark([Message("user", (TextPart(words),))])
    laid, kept = unmark([Text(words, trained=False)], [], SIGNALS)
    assert message.content == (TextPart(words),)
    assert [segment.text for segment in laid] == [words]
    assert kept == ()
