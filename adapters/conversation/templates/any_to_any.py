"""The layouts of NExT-GPT and ModaVerse, in which media keep their positions in the messages, in any turn.

NExT-GPT (Wu et al., 2023, https://arxiv.org/abs/2309.05519) and ModaVerse (Wang et al., 2024,
https://arxiv.org/abs/2401.06395) share Vicuna v0's speaker names, BOS at the start, and ``###`` as a stop text (not a
stop token, since tokenizers encode it in two ways). NExT-GPT's later code uses the layout ``vicuna_v1``.

Both tokenise the text before a medium and the text after it separately, and without the spaces around the medium,
since the texts around it (``<Img>``, ``<Media>``) are added tokens.
"""

from __future__ import annotations

from collections.abc import Callable

from inlay.adapters.conversation.messages import MediaPart, Message, made_of
from inlay.adapters.conversation.meta_response import END, MetaResponse
from inlay.adapters.conversation.segments import MARK_CLOSE, LayoutError, Media, Segment, Text
from inlay.adapters.conversation.template import Dialogue, Template, answer, is_empty

__all__ = ["ANY_TEMPLATES", "MEDIA_TOKENS"]

MEDIA_TOKENS = ("<Media>", "</Media>")
"""Text around a medium in ModaVerse's layout."""


def nextgpt(dialogue: Dialogue) -> list[Segment]:
    r"""``### Human: <Img>{medium}</Img> {words}\n### Assistant: {answer}[IMG0]...[IMG3]\n### Human: ...``.

    ``<Img>`` encloses media of every kind; the spaces around it are kept if it is plain text for the tokenizer. Signal
    tokens follow each other without spaces, as with the released tokenizer: a group of ``n`` tokens has ``n``
    positions, and the newline after it is dropped. The words of the first turn and the answer are tokenised separately.
    """
    spaced = "<Img>" not in dialogue.tokenizer.get_added_vocab()

    def words_first(text: str, turn: int) -> list[Segment]:
        return [Text(dialogue.gap), dialogue.apart(text)] if turn == 0 else [Text(" "), Text(text, literal=False)]

    def answered(message: Message) -> list[Segment]:
        if dialogue.prefixes_space and message.text.endswith(MARK_CLOSE):
            return [*answer(message, apart=True), Text("###", trained=True, apart=True)]
        return answer(message, "\n###", apart=dialogue.prefixes_space)

    return _dialogue(dialogue, ("<Img>", "</Img>"), words_first, dialogue.gap, answered, spaced=spaced)


def modaverse(dialogue: Dialogue) -> list[Segment]:
    r"""``### Human:<Media>{medium}</Media> {words}\n### Assistant: Modality: [IMAGE] Prompt: {prompt} ###``.

    Without media two spaces precede the words, since the published prompt has one on either side of the media. The
    prompt after ``Prompt:`` is the caption of the medium to generate, or the answer in words. Words next to a medium to
    generate are left out, because a meta response has no place for them.
    """

    def words_first(text: str, turn: int) -> list[Segment]:
        return [Text("  "), Text(text, literal=False)]

    return _dialogue(dialogue, MEDIA_TOKENS, words_first, "", _meta_response)


def _dialogue(
    dialogue: Dialogue,
    around: tuple[str, str],
    words_first: Callable[[str, int], list[Segment]],
    gap: str,
    answered: Callable[[Message], list[Segment]],
    *,
    spaced: bool = False,
) -> list[Segment]:
    """Lay out all turns.

    Args:
        dialogue: the conversation.
        around: the texts before and after a medium.
        words_first: function from the words before all media of a turn, and the turn's number, to the text after
            ``Human:``.
        gap: the text after ``Assistant:``.
        answered: function that lays out the assistant's turn.
        spaced: put a space between a medium and the text before or after it, and tokenise them as one text.
    """
    space = " " if spaced else ""
    laid: list[Segment] = [Text(f"{dialogue.system} ", literal=False)] if dialogue.system else []
    for turn, message in enumerate(dialogue.turns):
        if message.role == "assistant":
            laid += answered(message)
            continue
        laid.append(Text(" Human:" if turn else "### Human:"))
        for index, piece in enumerate(dialogue.pieces(message)):
            if isinstance(piece, MediaPart):
                laid += [Text(f"{space}{around[0]}"), Media(piece), Text(around[1])]
            elif not (words := piece.strip()):
                continue
            elif not index:
                laid += words_first(words, turn)
            else:
                laid += [Text(" "), Text(words, literal=False)] if spaced else [dialogue.apart(words)]
        laid.append(Text(f"\n### Assistant:{gap}"))
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
        raise LayoutError("a meta response needs the caption of the medium to generate, and this medium has none")
    prompt = prompts[0] if made else message.text.strip()
    whole = str(MetaResponse(prompt, tuple(part.modality for part in made), said=not made))
    trained = not is_empty(message)
    # A flag spelled in a message is plain text; only the template's own flags are tokens.
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
