"""The layouts of prismatic-vlms against its prompt builders' strings."""

from __future__ import annotations

from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.conversation.segments import Media
from inlay.adapters.conversation.template import Dialogue
from inlay.adapters.conversation.templates.registry import template_named

PICTURE = MediaPart("image", "x.png")


def laid(tokenizer: Any, name: str, *turns: Message, system: str = "") -> tuple[str, list[str]]:
    dialogue = Dialogue(turns=turns, tokenizer=tokenizer, system=system)
    segments = template_named(name).lay(dialogue)
    text = "".join("<image>" if isinstance(segment, Media) else segment.text for segment in segments)
    return text.replace(tokenizer.eos_token, "</s>"), dialogue.notes


def said(role: Any, text: str, *media: MediaPart) -> Message:
    return Message(role, (*media, TextPart(text)))


TURNS = (
    *(said("user", "what? ", PICTURE), said("assistant", "red")),
    *(said("user", "sure?"), said("assistant", "yes")),
)


def test_the_picture_stands_in_front_of_the_system_text(tokenizer_of: Any) -> None:
    text, notes = laid(tokenizer_of(), "prismatic", *TURNS, system="Be brief.")
    assert text == "<image>Be brief. USER: what? ASSISTANT: red</s>USER: sure? ASSISTANT: yes</s>"
    assert not notes


def test_a_language_model_without_chat_format_has_in_and_out(tokenizer_of: Any) -> None:
    assert laid(tokenizer_of(), "prismatic_pure", *TURNS)[0] == "<image>In: what?\nOut: red</s>In: sure?\nOut: yes</s>"


def test_what_the_layout_changes_is_noted(tokenizer_of: Any) -> None:
    late = (said("user", "hello"), said("assistant", "hi"), said("user", "what?", PICTURE), said("assistant", "red"))
    text, notes = laid(tokenizer_of(), "prismatic_pure", *late, system="Be brief.")
    assert text.startswith("<image>In: hello")
    assert [note.partition(" ")[0] for note in notes] == ["template", "the"]
