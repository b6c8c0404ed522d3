"""Layouts of the texts of the corpus: a description, questions and replies, in the formats of the systems.

Vicuna's own layout (https://lmsys.org/blog/2023-03-30-vicuna/), the layout of its first version, which NExT-GPT uses,
and those of MiniGPT-4, InstructBLIP and BLIP-2, each with the description instead of the picture. A text is a
tuple of pieces; each piece is tokenised separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from random import Random

LayoutName: TypeAlias = Literal["vicuna", "vicuna_v0", "minigpt4", "instructblip", "blip2"]

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
SHORT_ANSWER = "Answer the question using a single word or phrase."
BLIP2_PROMPTS = ("Question: {} Answer:", "Question: {} Short answer:")
WITHOUT_WORDING = ("instruction", "talk", "generated")
"""Kinds of turns without a prompt around the request."""

Turn: TypeAlias = tuple[str, str, str]
"""Kind, request, reply."""
Entry: TypeAlias = tuple[str, str, str]
"""Cue, reply, end; the loss is on the reply only."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that is tokenised separately."""

    text: str
    """The text; `"<s>"` and `"</s>"` mean the model's BOS and EOS."""
    trained: bool
    """Whether the loss is on its tokens."""
    kind: str = ""
    """The kind of question that a reply answers."""


def dialogue(
    layout: LayoutName, seen: str, turns: Sequence[Turn], rng: Random, *, system: float, wordings: Sequence[str]
) -> tuple[Piece, ...]:
    """Lay out turns after a description.

    Args:
        layout: The name of the layout.
        seen: The description; may be empty.
        turns: Questions and replies in order.
        rng: The only source of randomness.
        system: Share of Vicuna's dialogues with its system sentence, and share that ask for a short answer.
        wordings: Prompts in BLIP's layouts, with one `{}` for the question.
    """
    if layout == "minigpt4":
        return _minigpt4(seen, turns)
    if layout == "vicuna_v0":
        return _vicuna_v0(seen, turns)
    if layout == "instructblip":
        return _in_a_row(seen, turns, rng, wordings, end="</s>")
    if layout == "blip2":
        return _in_a_row(seen, turns, rng, wordings, end="\n")
    return _vicuna(seen, turns, rng, system)


def drill(layout: LayoutName, seen: str, order: str, entries: Sequence[Entry]) -> tuple[Piece, ...]:
    """Lay out the entries of a drill after a description; `order` is the instruction."""
    if layout == "blip2":
        pieces = [Piece(text, trained=False) for text in (seen, "<s>", order)]
    else:
        pieces = [Piece(text, trained=False) for text in ("<s>", f"USER: {seen}\n{order} ASSISTANT:")]
    for cue, reply, end in entries:
        pieces += [Piece(cue, trained=False), Piece(reply, trained=True, kind="drill"), Piece(end, trained=False)]
    return tuple(pieces)


def captioned(layout: LayoutName, seen: str, text: str, rng: Random) -> tuple[Piece, ...]:
    """A description and its caption, without an instruction."""
    if layout == "blip2":
        front, end = (seen, "<s>"), "\n"
        return (*(Piece(part, trained=False) for part in front), *_reply("caption", text, end))
    between = ("\n",) if rng.random() < 0.6 else ()
    parts = [Piece(part, trained=False) for part in ("<s>", seen, *between)]
    return (*parts, *_reply("caption", f"{text}\n", "</s>"))


def _reply(kind: str, text: str, end: str) -> tuple[Piece, Piece]:
    return Piece(text, trained=True, kind=kind), Piece(end, trained=True, kind=kind)


def _vicuna(seen: str, turns: Sequence[Turn], rng: Random, system: float) -> tuple[Piece, ...]:
    start = f"{SYSTEM} " if rng.random() < system else ""
    apart = rng.random() < 0.5  # tokenised separately, like the picture that replaces it
    hint = f"\n{SHORT_ANSWER}" if rng.random() < system else ""
    pieces = [Piece("<s>", trained=False)]
    for number, (kind, text, reply) in enumerate(turns):
        opening = f"{start if number == 0 else ''}USER: "
        closing = f"{text}{hint if kind not in WITHOUT_WORDING else ''} ASSISTANT:"
        if number == 0 and seen and apart:
            pieces += [Piece(part, trained=False) for part in (opening, seen, f"\n{closing}")]
        elif number == 0 and seen:
            pieces.append(Piece(f"{opening}{seen}\n{closing}", trained=False))
        else:
            pieces.append(Piece(opening + closing, trained=False))
        pieces += _reply(kind, f" {reply}", "</s>")
    return tuple(pieces)


def _minigpt4(seen: str, turns: Sequence[Turn]) -> tuple[Piece, ...]:
    """`###Human: <Img>SEEN</Img> question ###Assistant: reply###` (https://arxiv.org/abs/2304.10592)."""
    pieces = [Piece(text, trained=False) for text in ("<s>", "###Human: <Img>", seen)]
    opening = "</Img> "
    for kind, text, reply in turns:
        pieces.append(Piece(f"{opening}{text} ###Assistant:", trained=False))
        pieces += _reply(kind, f" {reply}", "###")
        opening = "Human: "
    return tuple(pieces)


def _vicuna_v0(seen: str, turns: Sequence[Turn]) -> tuple[Piece, ...]:
    r"""`### Human: <Img>SEEN</Img> question\n### Assistant: reply\n###` (https://arxiv.org/abs/2309.05519)."""
    pieces = [Piece("<s>", trained=False)]
    opening = "### Human: "
    for kind, text, reply in turns:
        if seen and len(pieces) == 1:
            pieces += [Piece(part, trained=False) for part in (f"{opening}<Img>", seen)]
            opening = "</Img> "
        pieces.append(Piece(f"{opening}{text}\n### Assistant:", trained=False))
        pieces += _reply(kind, f" {reply}", "\n###")
        opening = " Human: "
    return tuple(pieces)


def _in_a_row(seen: str, turns: Sequence[Turn], rng: Random, wordings: Sequence[str], *, end: str) -> tuple[Piece, ...]:
    """`SEEN<s>question reply</s>`, without role words (https://arxiv.org/abs/2301.12597, https://arxiv.org/abs/2305.06500)."""
    pieces = [Piece(text, trained=False) for text in (seen, "<s>") if text]
    for kind, text, reply in turns:
        asked = text if kind in WITHOUT_WORDING and "{}" in wordings else rng.choice(wordings).format(text)
        pieces.append(Piece(asked, trained=False))
        pieces += _reply(kind, f" {reply}", end)
    return tuple(pieces)
