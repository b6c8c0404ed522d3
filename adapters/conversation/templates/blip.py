"""The layouts of BLIP-2, InstructBLIP and MiniGPT-4.

BLIP-2 (Li et al., 2023, https://arxiv.org/abs/2301.12597), InstructBLIP (Dai et al., 2023,
https://arxiv.org/abs/2305.06500), MiniGPT-4 (Zhu et al., 2023, https://arxiv.org/abs/2304.10592). MiniGPT-4's first
stage has no prompt at all: media, caption, newline, which is the template ``plain``.

A space between a prompt and its answer belongs to the answer, because tokenizers join a space to the next word. Only
MiniGPT-4's authors end a prompt with a space and tokenise the answer separately, so with LLaMA's tokenizer its prompts
end with a token that is only a space (``: ▁ ▁two``).
"""

from __future__ import annotations

from inlay.adapters.conversation.messages import Message, media_of
from inlay.adapters.conversation.segments import Media, Segment, Text
from inlay.adapters.conversation.template import Dialogue, Template, answer, media_lead

__all__ = ["BLIP_TEMPLATES"]


def blip2(dialogue: Dialogue) -> list[Segment]:
    r"""BLIP-2: all media, then the text: ``<image>{prompt} {answer}\n``. The newline ends an answer.

    OPT expects its BOS after the visual block. Without a prompt the sequence is ``<image>{caption}\n``.
    """
    return _media_first(dialogue, "\n")


def instructblip(dialogue: Dialogue) -> list[Segment]:
    """InstructBLIP: all media, then ``{instruction} {answer}</s>``, without role words and without a chat template.

    The authors set ``</s>`` as BOS of Vicuna's tokenizer; it follows the visual block.
    """
    return _media_first(dialogue, dialogue.eos)


def _media_first(dialogue: Dialogue, end: str) -> list[Segment]:
    """Media of every turn first, then prompts and answers one after the other."""
    if not media_lead(Message("user", tuple(part for turn in dialogue.turns for part in turn.content))):
        dialogue.notes.append(
            "this template puts all media before all words, as in the training of BLIP-2 and InstructBLIP"
        )
    laid: list[Segment] = [Media(part) for part in media_of(dialogue.turns)]
    space = False
    for message in dialogue.turns:
        if message.role == "user":
            prompt = dialogue.words(message).strip()
            laid.append(Text(prompt, literal=False))
            space = bool(prompt)
        else:
            laid += answer(message, end, space=space)
    return [segment for segment in laid if isinstance(segment, Media) or segment.text]


def minigpt4(dialogue: Dialogue) -> list[Segment]:
    """MiniGPT-4, stage 2: ``###Human: <Img><image></Img> {instruction} ###Assistant: ``, separately ``{answer}###``.

    ``<Img>`` and ``</Img>`` are plain text, and so is ``###``, which tokenizers encode in more than one way. Every turn
    after the first begins with the ``###`` that ended the answer before it.
    """
    laid: list[Segment] = [Text(dialogue.system, literal=False)] if dialogue.system else []
    opening = "###Human: "
    for message in dialogue.turns:
        if message.role == "user":
            laid += [Text(opening), *_wrapped(dialogue, message), Text(f" ###Assistant:{dialogue.gap}")]
        else:
            laid += answer(message, "###", apart=dialogue.prefixes_space)
            opening = "Human: "
    return laid


def minigpt4_llama2(dialogue: Dialogue) -> list[Segment]:
    """MiniGPT-4 on LLaMA-2: ``<s>[INST] <Img><image></Img> {instruction} [/INST] {answer}</s>`` for every turn.

    Prompt and answer are tokenised separately, as in :func:`minigpt4`.
    """
    laid: list[Segment] = []
    opening, system = "[INST] ", dialogue.system
    for message in dialogue.turns:
        if message.role == "user":
            before = [Text(f"{system} ", literal=False)] if system else []
            laid += [Text(opening), *before, *_wrapped(dialogue, message), Text(f" [/INST]{dialogue.gap}")]
            opening, system = f"{dialogue.tokenizer.bos_token or ''}[INST] ", ""
        else:
            laid += answer(message, dialogue.eos, apart=dialogue.prefixes_space)
    return laid


def _wrapped(dialogue: Dialogue, message: Message) -> list[Segment]:
    """Put each medium between its marks, with one space between it and the text before or after it."""
    laid: list[Segment] = []
    pieces = [piece for piece in dialogue.pieces(message) if not isinstance(piece, str) or piece.strip()]
    for index, piece in enumerate(pieces):
        if isinstance(piece, str):
            laid.append(Text(piece.strip(), literal=False))
            continue
        before = " <Img>" if index and isinstance(pieces[index - 1], str) else "<Img>"
        laid += [Text(before), Media(piece), Text("</Img> " if index + 1 < len(pieces) else "</Img>")]
    return laid


BLIP_TEMPLATES = {
    "blip2": Template(blip2, bos="after_media", stop=("\n",)),
    "instructblip": Template(instructblip, bos="after_media", bos_is_eos=True),
    "minigpt4": Template(minigpt4, stop=("###",), speaker="Assistant:"),
    "minigpt4_llama2": Template(minigpt4_llama2),
}
"""The templates of the family by name."""
