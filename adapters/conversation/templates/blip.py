"""The layouts of BLIP-2, InstructBLIP and MiniGPT-4, one small function each.

BLIP-2 (Li et al., 2023, https://arxiv.org/abs/2301.12597), InstructBLIP (Dai et al., 2023,
https://arxiv.org/abs/2305.06500), MiniGPT-4 (Zhu et al., 2023, https://arxiv.org/abs/2304.10592). MiniGPT-4's first
stage has no prompt at all: media, caption, newline, which is the template ``plain``.

A space between a prompt and its answer belongs to the answer, so that a prompt never ends in a token that is only a
space: tokenizers join the space to the word that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inlay.adapters.conversation.messages import Message
from inlay.adapters.conversation.segments import Media, Segment, Style, Template, Text, answer, instruction, media_in

__all__ = ["BLIP_TEMPLATES"]


def blip2(style: Style, messages: Sequence[Message], tokenizer: Any, generation: bool) -> list[Segment]:
    r"""BLIP-2: all media, then the text: ``<image>{prompt} {answer}\n``. The newline is the end of text.

    OPT expects its BOS behind the visual block. Without a prompt the sequence is ``<image>{caption}\n``.
    """
    return _in_a_row(style, messages, "\n")


def instructblip(style: Style, messages: Sequence[Message], tokenizer: Any, generation: bool) -> list[Segment]:
    """InstructBLIP: all media, then ``{instruction} {answer}</s>``, without role words and without a chat template.

    Vicuna's tokenizer is used with ``</s>`` as BOS, and BOS stands behind the visual block.
    """
    return _in_a_row(style, messages, tokenizer.eos_token)


def _in_a_row(style: Style, messages: Sequence[Message], end: str) -> list[Segment]:
    """Media of every turn first, then prompts and answers one after the other."""
    laid: list[Segment] = [media for message in messages for media in media_in(message)]
    space = False
    for message in messages:
        if message.role == "user":
            prompt = instruction(style, message).strip()
            laid.append(Text(prompt, literal=False))
            space = bool(prompt)
        elif message.role == "assistant":
            laid += [*answer(message, space=space), Text(end, trained=True)]
    return [segment for segment in laid if isinstance(segment, Media) or segment.text]


def minigpt4(style: Style, messages: Sequence[Message], tokenizer: Any, generation: bool) -> list[Segment]:
    """MiniGPT-4, stage 2: ``###Human: <Img><image></Img> {instruction} ###Assistant: {answer}###``.

    ``<Img>`` and ``</Img>`` are plain text, and so is ``###``, which tokenizers spell in more than one way; every turn
    after the first begins with the ``###`` that ended the answer before it.
    """
    system = _system(style, messages)
    laid: list[Segment] = [Text(system, literal=False)] if system else []
    opening = "###Human: "
    for message in messages:
        if message.role == "user":
            laid += [Text(opening), *_wrapped(style, message), Text(" ###Assistant:")]
        elif message.role == "assistant":
            laid += [*answer(message), Text("###", trained=True)]
            opening = "Human: "
    return laid


def minigpt4_llama2(style: Style, messages: Sequence[Message], tokenizer: Any, generation: bool) -> list[Segment]:
    """MiniGPT-4 on LLaMA-2: ``<s>[INST] <Img><image></Img> {instruction} [/INST] {answer}</s>``, every turn anew."""
    system = _system(style, messages)
    laid: list[Segment] = []
    opening = "[INST] "
    for message in messages:
        if message.role == "user":
            laid += [Text(opening), *([Text(f"{system} ", literal=False)] if system else []), *_wrapped(style, message)]
            laid.append(Text(" [/INST]"))
            system, opening = "", f"{tokenizer.bos_token or ''}[INST] "
        elif message.role == "assistant":
            laid += [*answer(message), Text(tokenizer.eos_token, trained=True)]
    return laid


def _wrapped(style: Style, message: Message) -> list[Segment]:
    """Each medium between its marks, then the instruction, with one space between them."""
    laid: list[Segment] = []
    for media in media_in(message):
        laid += [Text("<Img>"), media, Text("</Img> ")]
    return [*laid, Text(instruction(style, message).strip(), literal=False)]


def _system(style: Style, messages: Sequence[Message]) -> str:
    return messages[0].text if messages and messages[0].role == "system" else style.system


BLIP_TEMPLATES = {
    "blip2": Template(blip2, bos="after_media", stop=("\n",)),
    "instructblip": Template(instructblip, bos="after_media"),
    "minigpt4": Template(minigpt4, stop=("###",), speaker="Assistant:"),
    "minigpt4_llama2": Template(minigpt4_llama2),
}
"""The templates of the family by name."""
