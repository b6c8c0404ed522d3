"""The layouts of NExT-GPT and ModaVerse, in which media stay where the user put them, in any turn.

NExT-GPT (Wu et al., 2023, https://arxiv.org/abs/2309.05519) and ModaVerse (Wang et al., 2024,
https://arxiv.org/abs/2401.06395) share Vicuna v0's speaker names, BOS at the start, and ``###`` as the text that ends
an answer, since tokenizers encode it in two ways. NExT-GPT's later code lays out as ``vicuna_v1``.
"""

from __future__ import annotations

from collections.abc import Callable

from inlay.adapters.conversation.messages import MediaPart, Message, made_of
from inlay.adapters.conversation.meta_response import END, MetaResponse
from inlay.adapters.conversation.segments import LayoutError, Media, Segment, Text
from inlay.adapters.conversation.template import Dialogue, Template, answer, is_empty

__all__ = ["ANY_TEMPLATES", "MEDIA_TOKENS"]

MEDIA_TOKENS = ("<Media>", "</Media>")
"""Text around a medium in ModaVerse's layout."""


def nextgpt(dialogue: Dialogue) -> list[Segment]:
    r"""``### Human: <Img>{medium}</Img> {words}\n### Assistant: {answer}[IMG0]...[IMG3]\n### Human: ...``.

    ``<Img>`` stands around media of every kind. Signal tokens follow each other without spaces, as the released
    tokenizer reads them: a group of ``n`` tokens has ``n`` positions.
    """
    return _dialogue(dialogue, ("<Img>", "</Img>"), lambda message: answer(message, "\n###"))


def modaverse(dialogue: Dialogue) -> list[Segment]:
    r"""``### Human: <Media>{medium}</Media> {words}\n### Assistant: Modality: [IMAGE] Prompt: {prompt} ###``.

    The prompt is the caption of the medium to make, or the answer in words. Words beside a medium to make are left out:
    a meta response has no place for them.
    """
    return _dialogue(dialogue, MEDIA_TOKENS, _meta_response)


def _dialogue(
    dialogue: Dialogue, around: tuple[str, str], answered: Callable[[Message], list[Segment]]
) -> list[Segment]:
    laid: list[Segment] = [Text(f"{dialogue.system} ", literal=False)] if dialogue.system else []
    opening = "### Human: "
    for message in dialogue.turns:
        if message.role == "user":
            laid += [Text(opening), *_asked(dialogue, message, around), Text("\n### Assistant:")]
        else:
            laid += answered(message)
            opening = " Human: "
    return laid


def _asked(dialogue: Dialogue, message: Message, around: tuple[str, str]) -> list[Segment]:
    """Media and words of the user's turn in their order, a space between them."""
    laid: list[Segment] = []
    for piece in dialogue.pieces(message):
        space = [Text(" ")] if laid else []
        if isinstance(piece, MediaPart):
            laid += [*space, Text(around[0]), Media(piece), Text(around[1])]
        elif piece.strip():
            laid += [*space, Text(piece.strip(), literal=False)]
    return laid


def _meta_response(message: Message) -> list[Segment]:
    made = made_of([message])
    prompts = list(dict.fromkeys(part.caption for part in made))
    if len(prompts) > 1:
        raise LayoutError(
            f"a meta response has one prompt for all media of a turn, got {len(prompts)}: {', '.join(prompts)}; split "
            "the media into several turns"
        )
    if made and not prompts[0]:
        raise LayoutError("a meta response needs the caption of the medium to make, and this medium has none")
    prompt = prompts[0] if made else message.text.strip()
    whole = str(MetaResponse(prompt, tuple(part.modality for part in made), said=not made))
    trained = not is_empty(message)
    # Text from messages stays text even where it spells a flag; only the template's own words may be tokens.
    return [
        Text(f" {whole[: len(whole) - len(prompt)]}", trained=trained),
        Text(prompt, trained=trained, literal=False),
        Text(f" {END}", trained=trained),
    ]


ANY_TEMPLATES = {
    "nextgpt": Template(nextgpt, stop=("###",)),
    "modaverse": Template(modaverse, stop=(END,), meta=True),
}
"""The templates by name."""
