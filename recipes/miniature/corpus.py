"""The text that the miniature language model is pretrained on.

Dialogues about described scenes and digits in the layout of Vicuna v1.1 (https://lmsys.org/blog/2023-03-30-vicuna/),
plain captioning, and a little talk without any scene. A text is a tuple of pieces; only replies are trained on: of
random scenes nothing can be predicted but the answers. Pieces are tokenised one by one. In half of the texts the
description is a piece of its own, as the picture will be that takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inlay.recipes.miniature.grammar import INSTRUCTIONS, caption, describe, instruction
from inlay.recipes.miniature.questions import SHORT_ANSWER, questions, refer
from inlay.recipes.miniature.world import COLOURS, SHAPES, Scene, Split, sample_scene

if TYPE_CHECKING:
    from random import Random

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
DIGIT_QUESTIONS = ("which digit is shown?", "what digit is this?", "which number is written here?")

ABOUT = 1  # of the turns of a dialogue ask for all attributes of one object: the most learned from one question
_ABOUT = ("tell me about {}.", "describe {}.")
_TALK = (
    ("hello.", "hello, how can i help you?"),
    ("what can you do?", "i can answer questions about pictures of shapes and digits."),
    ("who are you?", "i am a small assistant."),
    ("thank you.", "you are welcome."),
    ("which colours do you know?", ", ".join(COLOURS) + "."),
    ("which shapes do you know?", ", ".join(SHAPES) + "."),
    ("how many sides does a triangle have?", "3"),
    ("how many sides does a square have?", "4"),
    ("is a circle round?", "yes"),
    ("is a square round?", "no"),
    ("which digit comes after 3?", "4"),
    ("good bye.", "good bye."),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text that is tokenised on its own."""

    text: str
    """What it says; `"<s>"` and `"</s>"` alone stand for the special tokens."""
    trained: bool
    """Whether its tokens are predicted in training."""
    kind: str = ""
    """The kind of question that a reply answers."""


def _dialogue(seen: str, turns: list[tuple[str, str, str]], rng: Random) -> tuple[Piece, ...]:
    """Lay `(kind, question, reply)` turns after what is seen, which may be nothing."""
    start = f"{SYSTEM} " if rng.random() < 0.06 else ""
    apart = rng.random() < 0.5
    hint = f"\n{SHORT_ANSWER}" if rng.random() < 0.1 else ""
    pieces = [Piece("<s>", trained=False)]
    for number, (kind, text, reply) in enumerate(turns):
        opening = f"{start if number == 0 else ''}USER: "
        closing = f"{text}{hint if kind not in {'instruction', 'about', 'talk'} else ''} ASSISTANT:"
        if number == 0 and seen and apart:
            pieces += [Piece(part, trained=False) for part in (opening, seen, f"\n{closing}")]
        elif number == 0 and seen:
            pieces.append(Piece(f"{opening}{seen}\n{closing}", trained=False))
        else:
            pieces.append(Piece(opening + closing, trained=False))
        pieces += [Piece(f" {reply}", trained=True, kind=kind), Piece("</s>", trained=True, kind=kind)]
    return tuple(pieces)


def _captioned(seen: str, text: str, rng: Random) -> tuple[Piece, ...]:
    between = ("\n",) if rng.random() < 0.6 else ()
    parts = [Piece(part, trained=False) for part in ("<s>", seen, *between)]
    return (*parts, Piece(f"{text}\n", trained=True, kind="caption"), Piece("</s>", trained=True, kind="caption"))


def scene_text(scene: Scene, rng: Random, *, turns: int = 9) -> tuple[Piece, ...]:
    """A dialogue of `turns` turns about one described scene, or now and then its plain caption."""
    seen = describe(scene, rng)
    if rng.random() < 0.1:
        return _captioned(seen, caption(scene, rng), rng)
    asked = [(question.kind, question.text, question.answer) for question in questions(scene, rng)]
    if rng.random() < 0.4:
        asked.append(("instruction", *instruction(scene, rng)))
    for _ in range(ABOUT):
        thing = rng.choice(scene.things)
        text = rng.choice(_ABOUT).format(refer(scene, thing, rng))
        asked.append(("about", text, f"a {thing.phrase} in the {thing.place_name}."))
    rng.shuffle(asked)
    return _dialogue(seen, asked[:turns], rng)


def digit_text(digit: int, rng: Random) -> tuple[Piece, ...]:
    """A dialogue about, or the caption of, one described handwritten digit."""
    seen = rng.choice(("the handwritten digit {}.", "a picture of the handwritten digit {}.")).format(digit)
    said = f"the handwritten digit {digit}."
    if rng.random() < 0.3:
        return _captioned(seen, said, rng)
    asked = [("digit", text, str(digit)) for text in rng.sample(DIGIT_QUESTIONS, 2)]
    asked.append(("instruction", rng.choice(INSTRUCTIONS["caption"]), said))
    rng.shuffle(asked)
    return _dialogue(seen, asked, rng)


def sample_text(rng: Random, split: Split = "train", *, most: int = 3) -> tuple[Piece, ...]:
    """One text of the corpus, about a scene of at most `most` objects, a digit, or nothing."""
    which = rng.random()
    if which < 0.02:
        return _dialogue("", [("talk", *turn) for turn in rng.sample(_TALK, 3)], rng)
    if which < 0.05:
        return digit_text(rng.randrange(10), rng)
    scene = sample_scene(rng, split)
    while len(scene.things) > most:
        scene = sample_scene(rng, split)
    return scene_text(scene, rng)
