r"""The layouts of prismatic-vlms (Karamcheti et al., 2024, https://arxiv.org/abs/2402.07865): media first, then text.

``prismatic`` is the prompt of Vicuna 1.5, ``prismatic_pure`` that of language models without a chat format.
"""

from __future__ import annotations

from collections.abc import Callable

from inlay.adapters.conversation.messages import Message, media_of
from inlay.adapters.conversation.segments import Media, Segment, Text
from inlay.adapters.conversation.template import Dialogue, Template, answer, media_lead

__all__ = ["PRISMATIC_TEMPLATES"]


def prismatic(dialogue: Dialogue) -> list[Segment]:
    """``<s><image>{system} USER: {question} ASSISTANT: {answer}</s>USER: ...``."""
    start = f"{dialogue.system} " if dialogue.system else ""
    return _laid(dialogue, start, lambda words: [Text("USER: "), words, Text(" ASSISTANT:")])


def prismatic_pure(dialogue: Dialogue) -> list[Segment]:
    r"""``<s><image>In: {question}\nOut: {answer}</s>In: ...``; a system message is left out, as published."""
    if dialogue.system:
        dialogue.notes.append("template 'prismatic_pure' leaves out the system message")
    return _laid(dialogue, "", lambda words: [Text("In: "), words, Text("\nOut:")])


def _laid(dialogue: Dialogue, start: str, wrapped: Callable[[Text], list[Text]]) -> list[Segment]:
    if not media_lead(Message("user", tuple(part for turn in dialogue.turns for part in turn.content))):
        dialogue.notes.append("the templates of prismatic put all media before all words, as in their training")
    laid: list[Segment] = [Media(part) for part in media_of(dialogue.turns)]
    if start:
        laid.append(Text(start, literal=False))
    for message in dialogue.turns:
        if message.role == "user":
            laid += wrapped(Text(dialogue.words(message).strip(), literal=False))
        else:
            laid += answer(message, dialogue.eos)
    return laid


PRISMATIC_TEMPLATES = {"prismatic": Template(prismatic), "prismatic_pure": Template(prismatic_pure)}
"""The templates of the family by name."""
