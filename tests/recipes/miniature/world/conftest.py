"""Scenes to test on, and an evaluator of questions that knows nothing of how they are made."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

import pytest

from inlay.recipes.miniature.world.scenes import COLOURS, PLACES, SHAPES, SIZES, Scene, Thing, sample_scene

_WORD = {**dict.fromkeys(COLOURS, "colour"), **dict.fromkeys(SHAPES, "shape"), **dict.fromkeys(SIZES, "size")}


def _meant(scene: Scene, words: str) -> list[Thing]:
    """The things that a noun phrase fits."""
    looks, _, place = words.partition(" in the ")
    things = [thing for thing in scene.things if not place or thing.place_name == place]
    for word in looks.split():
        word = "cross" if word == "crosses" else word.removesuffix("s") if word not in _WORD else word
        if word in _WORD:
            things = [thing for thing in things if getattr(thing, _WORD[word]) == word]
        elif word not in {"the", "a", "an", "object"}:
            raise AssertionError(f"unknown word {word!r} in {words!r}")
    return things


def _only(scene: Scene, words: str) -> Thing:
    (thing,) = _meant(scene, words)
    return thing


def _compare(scene: Scene, word: str, one: str, two: str) -> bool:
    a, b = _only(scene, one), _only(scene, two)
    return {
        "larger": (a.size, b.size) == ("large", "small"),
        "smaller": (a.size, b.size) == ("small", "large"),
        "further left": a.column < b.column,
        "further right": a.column > b.column,
        "higher": a.row < b.row,
        "lower": a.row > b.row,
    }[word]


_COMPARED = "larger|smaller|further left|further right|higher|lower"


def _evaluate(scene: Scene, kind: str, text: str) -> str:
    text = text.rstrip("?.")
    if found := re.fullmatch(rf"which is ({_COMPARED}), (.*) or (.*)", text):
        word, one, two = found.groups()
        return (one if _compare(scene, word, one, two) else two).removeprefix("the ")
    if found := re.fullmatch(rf"is (.*) ({_COMPARED}) than (.*)", text):
        one, word, two = found.groups()
        return "yes" if _compare(scene, word, one, two) else "no"
    if kind == "count":
        noun = re.sub(r"^(how many|count the|what is the number of) | (are there|do you see)$", "", text)
        return str(len(_meant(scene, noun)))
    if found := re.fullmatch(r"(?:is there|do you see) (.*)", text):
        return "yes" if _meant(scene, found[1]) else "no"
    reference = r"(the (?:object|[a-z ]*?(?:object|circle|square|triangle|star|cross|ring))(?: in the [a-z ]+?)?)"
    if kind == "yesno":
        for place in sorted(PLACES, key=len, reverse=True):
            if found := re.fullmatch(rf"is {reference} in the {place}", text):
                return "yes" if _only(scene, found[1]).place_name == place else "no"
        found = re.fullmatch(rf"is {reference} (?:an? )?(\w+)", text)
        assert found, text
        return "yes" if getattr(_only(scene, found[1]), _WORD[found[2]]) == found[2] else "no"
    noun = re.sub(r" (small or large|large or small)$| have$", "", text)
    noun = noun[noun.index("the ", 4) if noun.startswith(("tell", "what is the place")) else noun.index("the ") :]
    noun = re.sub(r"^the (colour|shape|size|place) of ", "", noun)
    thing = _only(scene, noun)
    return thing.place_name if kind == "place" else str(getattr(thing, kind))


@pytest.fixture(scope="session")
def evaluate() -> Callable[[Scene, str, str], str]:
    """The true answer to a question, found by parsing its text."""
    return _evaluate


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    """Five hundred scenes of the training split."""
    rng = Random(7)
    return [sample_scene(rng) for _ in range(500)]
