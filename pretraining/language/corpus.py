"""The pretraining corpus of the miniature language models.

It has dialogues about described scenes and digits, plain captions, some dialogues without a scene, and two drills;
`corpus_layout` lays them out. The loss is on replies only, because nothing else can be predicted from random scenes.

The drills make look-up learnable. With questions alone, a small model guesses among the objects of a scene for
thousands of steps. In a *list*, an object is named by one attribute, and the reply is its other attributes. A
*statement* ends with a missing word. Both put many look-ups into one text, with few words between cue and answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inlay.recipes.miniature.world.descriptions import INSTRUCTIONS, STYLES, caption, instruction
from inlay.recipes.miniature.world.digits import DIGIT_QUESTIONS
from inlay.recipes.miniature.world.questions import ask, matching, refer
from inlay.recipes.miniature.world.scenes import ALL_VALUES, COLOURS, SHAPES, Scene, Split, sample_scene
from pretraining.language.corpus_layout import LayoutName, Piece, captioned, dialogue, drill
from pretraining.language.media_corpus import media_text

if TYPE_CHECKING:
    from random import Random

ATTRIBUTES = ("colour", "shape", "place", "size")

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


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Shares of the kinds of texts; the rest are dialogues."""

    lists: float = 0.0
    """Share of texts that are a drill of lists."""
    statements: float = 0.0
    """Share of texts that are a drill of statements."""
    plain: float = 0.1
    """Share of texts that are a plain caption."""
    talk: float = 0.02
    """Share of texts without a scene."""
    digits: float = 0.03
    """Share of texts about a handwritten digit."""
    media: float = 0.0
    """Share of texts about drawings, sounds and clips, and about generating them."""
    lone: float = 0.2
    """Share of the scenes of one object that are kept."""
    styles: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    """Weights of the styles of description: sentence, places first, soup, scan."""
    captions: float = 0.2
    """Share of dialogues with an instruction, such as to describe the picture."""
    hard: float = 0.3
    """Share of dialogues with a question about a count, yes or no, a comparison; for each of the three."""
    comparisons: int = 1
    """Number of comparisons in a dialogue that has any."""
    system: float = 0.0
    """Share of dialogues with Vicuna's system sentence, and share that ask for a short answer."""
    stated: tuple[str, ...] = ATTRIBUTES
    """The attributes that statements ask for."""
    layout: LayoutName = "vicuna"
    """The layout of all texts."""
    templates: float = 0.0
    """Share of dialogues in the layout of MiniGPT-4 or InstructBLIP instead."""
    wordings: tuple[str, ...] = ("{}",)
    """Prompts in the layouts of BLIP-2 and InstructBLIP, with one `{}` for the question."""
    turns: int = 7
    """The largest number of questions in a dialogue."""
    values: int = ALL_VALUES
    """Number of colours, shapes and places."""


LISTED, STATED = 8, 12  # entries of a list, statements of a text


def sample_text(rng: Random, mix: Mix, split: Split = "train") -> tuple[Piece, ...]:
    """One text of the corpus."""
    which = rng.random()
    if which < mix.talk:
        return _dialogue("", [("talk", *turn) for turn in rng.sample(_TALK, 3)], rng, mix)
    if which < mix.talk + mix.digits:
        return digit_text(rng.randrange(10), rng, mix)
    # No random number is drawn if the share is zero: the corpora of OPT and T5 must not change.
    if mix.media and rng.random() < mix.media:
        return media_text(rng, split, system=mix.system)
    scene = sample_scene(rng, split, mix.values)
    while len(scene.things) == 1 and rng.random() > mix.lone:
        scene = sample_scene(rng, split, mix.values)
    return scene_text(scene, rng, mix)


def scene_text(scene: Scene, rng: Random, mix: Mix) -> tuple[Piece, ...]:
    """A drill, a plain caption, or a dialogue about one described scene."""
    seen = _described(scene, rng, mix)
    which = rng.random()
    if which < mix.lists:
        return drill(mix.layout, seen, "list.", _lists(scene, rng))
    if which < mix.lists + mix.statements:
        return drill(mix.layout, seen, "tell me more.", _statements(scene, rng, mix.stated))
    if which < mix.lists + mix.statements + mix.plain:
        return captioned(mix.layout, seen, caption(scene, rng), rng)
    asked = [("instruction", *instruction(scene, rng))] if rng.random() < mix.captions else []
    kinds = [*ATTRIBUTES, rng.choice(ATTRIBUTES)]
    harder = ["count", "yesno", *["comparison"] * (mix.comparisons if len(scene.things) > 1 else 0)]
    kinds += [kind for kind in harder if rng.random() < mix.hard]
    asked += [(question.kind, question.text, question.answer) for question in (ask(kind, scene, rng) for kind in kinds)]
    rng.shuffle(asked)
    return _dialogue(seen, asked, rng, mix)


def digit_text(digit: int, rng: Random, mix: Mix) -> tuple[Piece, ...]:
    """A dialogue about, or the caption of, one described handwritten digit."""
    seen = rng.choice(("the handwritten digit {}.", "a picture of the handwritten digit {}.")).format(digit)
    said = f"the handwritten digit {digit}."
    if rng.random() < 0.3:
        return captioned(mix.layout, seen, said, rng)
    asked = [("digit", text, str(digit)) for text in rng.sample(DIGIT_QUESTIONS, 2)]
    asked.append(("instruction", rng.choice(INSTRUCTIONS["caption"]), said))
    rng.shuffle(asked)
    return _dialogue(seen, asked, rng, mix)


def _described(scene: Scene, rng: Random, mix: Mix) -> str:
    style = rng.choices(STYLES, mix.styles)[0]
    things = list(scene.things)
    if style is not STYLES[-1] and rng.random() < 0.3:
        rng.shuffle(things)
    return style(things, rng)


def _lists(scene: Scene, rng: Random) -> list[tuple[str, str, str]]:
    """An attribute that only one thing has, then its other attributes: ` circle` -> ` red small top left`."""
    entries = []
    for _ in range(LISTED):
        thing = rng.choice(scene.things)
        own = [key for key in ("shape", "colour", "place") if matching(scene, thing, (key,)) == 1]
        cue = rng.choice(own)
        said = {"shape": thing.shape, "colour": thing.colour, "size": thing.size, "place": thing.place_name}
        entries.append((f" {said.pop(cue)}", " " + " ".join(said.values()), "."))
    return entries


def _statements(scene: Scene, rng: Random, stated: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """` the circle is` -> ` red`."""
    entries = []
    for _ in range(STATED):
        thing, kind = rng.choice(scene.things), rng.choice(stated)
        joint = {"place": " is in the", "shape": " is a"}.get(kind, " is")
        value = thing.place_name if kind == "place" else getattr(thing, kind)
        entries.append((f" {refer(scene, thing, rng, hidden=kind)}{joint}", f" {value}", "."))
    return entries


def _dialogue(seen: str, turns: list[tuple[str, str, str]], rng: Random, mix: Mix) -> tuple[Piece, ...]:
    """Lay out `(kind, question, reply)` turns after a description, which may be empty."""
    layout, turns = mix.layout, turns[: mix.turns]
    if seen and mix.templates and rng.random() < mix.templates:
        layout = rng.choice(("minigpt4", "instructblip"))
    return dialogue(layout, seen, turns, rng, system=mix.system, wordings=mix.wordings)
