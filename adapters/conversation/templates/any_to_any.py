"""The layouts of NExT-GPT and ModaVerse, in which media stand in any turn, where they were said.

NExT-GPT (Wu et al., 2023, https://arxiv.org/abs/2309.05519) and ModaVerse (Wang et al., 2024,
https://arxiv.org/abs/2401.06395) share Vicuna v0's speakers, BOS in front, and ``###`` as text that ends an answer:
tokenizers spell it in two ways. NExT-GPT's later code lays out as ``vicuna_v1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart, made_of
from inlay.adapters.conversation.meta_response import END, MetaResponse
from inlay.adapters.conversation.segments import (
    HOLE,
    LayoutError,
    Media,
    Segment,
    Style,
    Template,
    Text,
    answer,
    instruction,
)

__all__ = ["ANY_TEMPLATES", "MEDIA_TOKENS"]

MEDIA_TOKENS = ("<Media>", "</Media>")
"""What stands around a medium in ModaVerse's layout."""


def nextgpt(style: Style, messages: Sequence[Message], tokenizer: Any, generation: bool) -> list[Segment]:
    r"""``### Human: <Img>{medium}</Img> {words}\n### Assistant: {answer}[IMG0]...[IMG3]\n### Human: ...``.

    ``<Img>`` stands around media of every kind. Signal tokens follow each other without spaces, as the released
    tokenizer reads them: a group of ``n`` tokens has ``n`` positions.
    """
    return _dialogue(style, messages, ("<Img>", "</Img>"), "\n###", _said)


def modaverse(style: Style, messages: Sequence[Message], tokenizer: Any, generation: bool) -> list[Segment]:
    r"""``### Human: <Media>{medium}</Media> {words}\n### Assistant: Modality: [IMAGE] Prompt: {prompt} ###``.

    The prompt is the caption of what is made, or the answer in words. Words beside something made are left out: a meta
    response has no place for them.
    """
    return _dialogue(style, messages, MEDIA_TOKENS, f" {END}", _meta_response)


def _dialogue(style: Style, messages: Sequence[Message], around: tuple[str, str], end: str, said: Any) -> list[Segment]:
    system = messages[0].text if messages and messages[0].role == "system" else style.system
    laid: list[Segment] = [Text(f"{system} ", literal=False)] if system else []
    opening = "### Human: "
    for message in messages:
        if message.role == "user":
            laid += [Text(opening), *_asked(style, message, around), Text("\n### Assistant:")]
        elif message.role == "assistant":
            laid += [*said(style, message), Text(end, trained=True)]
            opening = " Human: "
    return laid


def _asked(style: Style, message: Message, around: tuple[str, str]) -> list[Segment]:
    """Media and words of the user's turn in their order, a space between them; with a prompt, media in front of it."""
    content: list[Any] = list(message.content)
    if style.prompt != HOLE:
        content = [part for part in content if isinstance(part, MediaPart)]
        content.append(TextPart(instruction(style, message)))
    laid: list[Segment] = []
    for part in content:
        if isinstance(part, MediaPart):
            laid += [*_space(laid), Text(around[0]), Media(part), Text(around[1])]
        elif isinstance(part, TextPart) and part.text.strip():
            laid += [*_space(laid), Text(part.text.strip(), literal=False)]
    return laid


def _space(laid: Sequence[Segment]) -> list[Segment]:
    return [Text(" ")] if laid else []


def _said(style: Style, message: Message) -> list[Segment]:
    return answer(message)


def _meta_response(style: Style, message: Message) -> list[Segment]:
    made = made_of([message])
    prompts = list(dict.fromkeys(part.caption for part in made))
    if len(prompts) > 1:
        raise LayoutError(
            f"a meta response has one prompt for all that is made, got {len(prompts)}: {', '.join(prompts)}; put them "
            "into turns of their own"
        )
    if made and not prompts[0]:
        raise LayoutError("a meta response needs the caption of what is made, and this medium has none")
    prompt = prompts[0] if made else message.text.strip()
    whole = str(MetaResponse(prompt, tuple(part.modality for part in made), said=not made))
    # What people wrote is text even where it spells a flag; only the template's own words may be tokens.
    return [
        Text(" ", trained=True),
        Text(whole[: len(whole) - len(prompt)], trained=True),
        Text(prompt, trained=True, literal=False),
    ]


ANY_TEMPLATES = {
    "nextgpt": Template(nextgpt, stop=("###",)),
    "modaverse": Template(modaverse, stop=(END,), meta=True),
}
"""The templates by name."""
