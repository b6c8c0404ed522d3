"""Questions about scenes, with short answers, and the ten human-like answers of the VQA metric.

Every question refers to its objects uniquely, and its wording does not reveal the answer: yes and no, and both orders
of a comparison, are equally likely by construction. The ten answers of a question, of which some are wrong, follow
VQA v2 (https://arxiv.org/abs/1612.00837).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inlay.recipes.miniature.world.scenes import COLOURS, PLACES, SHAPES, SIZES, Scene, Thing

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

KINDS = ("colour", "shape", "count", "place", "size", "yesno", "comparison")

_PHRASINGS = {
    "colour": ("what colour is {}?", "what color is {}?", "which colour does {} have?", "tell me the colour of {}."),
    "shape": ("what shape is {}?", "which shape does {} have?", "tell me the shape of {}.", "what is {}?"),
    "size": ("what size is {}?", "is {} small or large?", "is {} large or small?", "tell me the size of {}."),
    "place": ("where is {}?", "in which place is {}?", "tell me the place of {}.", "what is the place of {}?"),
    "count": ("how many {} are there?", "count the {}.", "how many {} do you see?", "what is the number of {}?"),
}
_REFERENCES = (
    ("shape",),
    ("colour",),
    ("size",),
    ("place",),
    ("colour", "shape"),
    ("size", "shape"),
    ("size", "colour"),
    ("size", "colour", "shape"),
)
_WORDINGS = {
    "red": ("crimson", "dark red"),
    "green": ("lime", "leaf green"),
    "blue": ("navy", "dark blue"),
    "yellow": ("gold", "lemon"),
    "purple": ("violet", "magenta"),
    "orange": ("amber", "light brown"),
    "cyan": ("turquoise", "light blue"),
    "black": ("dark", "dark grey"),
    "circle": ("disc", "dot"),
    "square": ("box", "rectangle"),
    "triangle": ("wedge", "pyramid"),
    "star": ("starfish", "asterisk"),
    "cross": ("plus", "plus sign"),
    "ring": ("hoop", "donut"),
    "small": ("little", "tiny"),
    "large": ("big", "huge"),
    "yes": ("yep", "no"),
    "no": ("nope", "yes"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """One question and its answer."""

    kind: str
    """One of `KINDS`, or `"digit"`."""
    text: str
    """The question as asked."""
    answer: str
    """The true answer: a word or a short phrase."""


def matching(scene: Scene, thing: Thing, keys: tuple[str, ...]) -> int:
    """The number of things in a scene that share these attributes with a thing, itself included."""
    return sum(all(getattr(other, key) == getattr(thing, key) for key in keys) for other in scene.things)


def _wording(thing: Thing, keys: tuple[str, ...]) -> str:
    words = [getattr(thing, key) for key in ("size", "colour") if key in keys]
    words.append(thing.shape if "shape" in keys else "object")
    return " ".join(words) + (f" in the {thing.place_name}" if "place" in keys else "")


def refer(scene: Scene, thing: Thing, rng: Random, *, hidden: str = "") -> str:
    """A unique reference to a thing of a scene that does not mention the attribute `hidden`."""
    fitting = [keys for keys in _REFERENCES if hidden not in keys and matching(scene, thing, keys) == 1]
    if len(scene.things) == 1 and rng.random() < 0.3:
        return "the object"
    # Short references are the most frequent, as in human speech.
    weights = [(0.3 if keys == ("size",) else 1.0) * 4.0 ** (1 - len(keys)) for keys in fitting]
    return f"the {_wording(thing, rng.choices(fitting, weights)[0])}"


def _attribute(kind: str) -> Callable[[Scene, Random], Question]:
    def ask(scene: Scene, rng: Random) -> Question:
        thing = rng.choice(scene.things)
        text = rng.choice(_PHRASINGS[kind]).format(refer(scene, thing, rng, hidden=kind))
        return Question(kind, text, thing.place_name if kind == "place" else getattr(thing, kind))

    return ask


def _count(scene: Scene, rng: Random) -> Question:
    key = rng.choice(("any", "size", "size", "colour", "shape"))
    if key == "any":
        noun, number = "objects", len(scene.things)
    else:
        values = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}[key]
        by_number: dict[int, list[str]] = {}
        for value in values:
            by_number.setdefault(sum(getattr(thing, key) == value for thing in scene.things), []).append(value)
        number = rng.choice(sorted(by_number))
        value = rng.choice(by_number[number])
        plural = {"cross": "crosses"}.get(value, f"{value}s")
        noun = plural if key == "shape" else f"{value} objects"
    return Question("count", rng.choice(_PHRASINGS["count"]).format(noun), str(number))


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _exists(scene: Scene, rng: Random, *, truth: bool) -> str:
    keys = rng.choice((("colour", "shape"), ("size", "colour", "shape"), ("shape",), ("colour",), ("size", "shape")))
    thing = rng.choice(scene.things)
    while not truth and matching(scene, thing, keys):  # a near miss: one attribute at a time is changed
        key = rng.choice(keys)
        values = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}[key]
        thing = thing.having(key, rng.choice(values))
    return rng.choice(("is there {}?", "do you see {}?")).format(_article(_wording(thing, keys)))


def _is_it(scene: Scene, rng: Random, *, truth: bool) -> str:
    thing = rng.choice(scene.things)
    key = rng.choice(("colour", "shape", "size", "place"))
    values = {"size": SIZES, "colour": COLOURS, "shape": SHAPES, "place": PLACES}[key]
    own = thing.place_name if key == "place" else getattr(thing, key)
    said = own if truth else rng.choice([value for value in values if value != own])
    said = {"shape": _article(said), "place": f"in the {said}"}.get(key, said)
    return f"is {refer(scene, thing, rng, hidden=key)} {said}?"


def yes_no(scene: Scene, rng: Random, *, truth: bool | None = None) -> Question:
    """A question whose answer is yes or no; without `truth`, both are equally likely."""
    truth = rng.random() < 0.5 if truth is None else truth
    ask = rng.choice((_exists, _is_it))
    return Question("yesno", ask(scene, rng, truth=truth), "yes" if truth else "no")


def _comparison(scene: Scene, rng: Random) -> Question:
    one, two = rng.sample(scene.things, 2)  # in either order with the same chance
    names = {thing: f"{thing.colour} {thing.shape}" for thing in (one, two)}
    asked: list[tuple[str, Callable[[Thing], int]]] = [
        ("larger", lambda thing: SIZES.index(thing.size)),
        ("smaller", lambda thing: -SIZES.index(thing.size)),
        ("further left", lambda thing: -thing.column),
        ("further right", lambda thing: thing.column),
        ("higher", lambda thing: -thing.row),
        ("lower", lambda thing: thing.row),
    ]
    word, measure = rng.choice([(word, measure) for word, measure in asked if measure(one) != measure(two)])
    winner = max((one, two), key=measure)
    if rng.random() < 0.5:
        return Question("comparison", f"which is {word}, the {names[one]} or the {names[two]}?", names[winner])
    text = f"is the {names[one]} {word} than the {names[two]}?"
    return Question("comparison", text, "yes" if winner == one else "no")


_ASK: dict[str, Callable[[Scene, Random], Question]] = {
    **{kind: _attribute(kind) for kind in ("colour", "shape", "place", "size")},
    "count": _count,
    "yesno": yes_no,
    "comparison": _comparison,
}


def ask(kind: str, scene: Scene, rng: Random) -> Question:
    """One question of a kind; a comparison needs two objects."""
    return _ASK[kind](scene, rng)


def questions(scene: Scene, rng: Random) -> list[Question]:
    """One question of every kind that the scene allows, in the order of `KINDS`.

    Args:
        scene: The scene; a comparison needs two objects.
        rng: Chooses wordings, objects and, for yes and no, the truth.

    Example:
        >>> from random import Random
        >>> from inlay.recipes.miniature.world.scenes import sample_scene
        >>> questions(sample_scene(Random(5)), Random(5))[0].kind
        'colour'
    """
    return [ask(kind, scene, rng) for kind in KINDS if kind != "comparison" or len(scene.things) > 1]


def human_answers(question: Question, rng: Random, *, number: int = 10, dissent: float = 0.15) -> tuple[str, ...]:
    """The answers of `number` simulated people: mostly the true answer, sometimes a synonym, an error or a typo.

    At least six in ten are the true answer.
    """
    answers: list[str] = []
    for _ in range(number):
        slips = len(answers) - answers.count(question.answer)
        if slips >= number * 0.4 or rng.random() >= dissent:
            answers.append(question.answer)
            continue
        others = list(_WORDINGS.get(question.answer, ()))
        if question.answer.isdigit():
            others.append(str((int(question.answer) + 1) % 10))
        elif question.kind == "place":
            others.append(
                question.answer.replace("center", "middle").replace("top", "upper").replace("bottom", "lower")
            )
        elif not others:
            others.append(f"the {question.answer}")
        if len(question.answer) > 3:
            others.append(question.answer[:-2] + question.answer[:-3:-1])  # the last two letters exchanged
        answers.append(rng.choice(others))
    return tuple(answers)
