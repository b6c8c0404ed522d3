r"""The layouts of LLaVA: ``plain`` for stage 1, ``vicuna_v1`` for stage 2 and for use.

Liu et al., 2023, https://arxiv.org/abs/2304.08485 and https://arxiv.org/abs/2310.03744.
"""

from __future__ import annotations

from collections.abc import Sequence

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart, media_of
from inlay.adapters.conversation.segments import Media, Segment, Text
from inlay.adapters.conversation.template import Dialogue, Piece, Template, answer, media_lead

__all__ = ["LLAVA_TEMPLATES", "VICUNA_SYSTEM", "with_newlines"]

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


def plain(dialogue: Dialogue) -> list[Segment]:
    r"""Stage 1: ``<image>{caption}\n``. The user's words are left out on purpose, as published."""
    laid: list[Segment] = []
    for message in dialogue.turns:
        if message.role == "user":
            laid += [Media(part) for part in media_of([message])]
            if _words_between_media(message):
                dialogue.notes.append("template 'plain' leaves out the user's words, also those between media")
        else:
            laid += answer(message, "\n", space=False)
    return laid


def vicuna_v1(dialogue: Dialogue) -> list[Segment]:
    r"""Vicuna 1.1 and later, as LLaVA 1.5 uses it.

    ``{system} USER: <image>\n{question} ASSISTANT: {answer}</s>USER: ...``: one space after a question, none between
    ``</s>`` and the next ``USER``. The only medium of a turn precedes the words, as published; several media keep their
    positions.
    """
    laid: list[Segment] = [Text(dialogue.system, literal=False), Text(" ")] if dialogue.system else []
    for message in dialogue.turns:
        if message.role == "user":
            laid += [Text("USER: "), *with_newlines(_pieces(dialogue, message)), Text(" ASSISTANT:")]
        else:
            laid += answer(message, dialogue.eos)
    return laid


def with_newlines(pieces: Sequence[Piece]) -> list[Segment]:
    """A user's turn with a newline after each medium, and a space between words and the medium after them.

    White space at the ends of a turn with media is removed, so that a medium alone has no newline (as published).
    """
    laid: list[Segment] = []
    if any(isinstance(piece, MediaPart) for piece in pieces):
        pieces = [piece.strip() if isinstance(piece, str) else piece for piece in pieces]
        pieces = [piece for piece in pieces if piece != ""]
    for index, piece in enumerate(pieces):
        if isinstance(piece, str):
            laid.append(Text(piece, literal=False))
            continue
        if index and isinstance(pieces[index - 1], str):
            laid.append(Text(" "))
        laid.append(Media(piece))
        if index + 1 < len(pieces):
            laid.append(Text("\n"))
    return laid


def _pieces(dialogue: Dialogue, message: Message) -> list[Piece]:
    media = media_of([message])
    if len(media) == 1 and not media_lead(message):
        dialogue.notes.append(
            "template 'vicuna_v1' puts the only medium of a turn before its words, as in the training of LLaVA 1.5"
        )
        return [*media, dialogue.words(message)]
    return dialogue.pieces(message)


def _words_between_media(message: Message) -> bool:
    places = [index for index, part in enumerate(message.content) if isinstance(part, MediaPart)]
    between = message.content[places[0] : places[-1]] if places else ()
    return any(isinstance(part, TextPart) and part.text.strip() for part in between)


LLAVA_TEMPLATES = {"plain": Template(plain, stop=("\n",)), "vicuna_v1": Template(vicuna_v1)}
"""The templates of the family by name."""
