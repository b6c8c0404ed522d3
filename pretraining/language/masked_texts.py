"""Texts for the pretraining and evaluation of the miniature BERT.

A cloze has a context and, for questions, an answer. The texts are captions, questions with answers in the prompts of
the BLIP systems, descriptions with questions, and scenes that are described twice, so that each masked word has a
second occurrence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inlay.recipes.data.preparation.instruction_templates import CAPTION, QUESTION, fill
from inlay.recipes.miniature.world.descriptions import caption, describe, instruction
from inlay.recipes.miniature.world.digits import DIGIT_QUESTIONS, digit_caption
from inlay.recipes.miniature.world.questions import questions
from inlay.recipes.miniature.world.scenes import ALL_VALUES, Scene, sample_scene

if TYPE_CHECKING:
    from random import Random

_KINDS = ("caption", "asked", "described", "twice", "instruction", "digit")
_SHARES = (20, 20, 30, 20, 5, 5)  # per cent
_WRAPPED = 0.3  # share of the questions in a prompt


@dataclass(frozen=True, slots=True)
class Cloze:
    """One text."""

    context: str
    """The first part."""
    answer: str = ""
    """The answer to the context; may be empty."""
    kind: str = ""
    """The kind of the question, if there is one."""


def sample_cloze(rng: Random, values: int = ALL_VALUES) -> Cloze:
    """A text about a scene of the training split, or about a digit; `values` as in `sample_scene`."""
    kind = rng.choices(_KINDS, _SHARES)[0]
    if kind == "digit":
        digit = rng.randrange(10)
        if rng.random() < 0.5:
            return Cloze(digit_caption(digit))
        return Cloze(f"{digit_caption(digit)} {rng.choice(DIGIT_QUESTIONS)}", str(digit), kind)
    scene = sample_scene(rng, values=values)
    if kind == "described":
        return described(scene, rng)
    if kind == "asked":
        question = rng.choice(questions(scene, rng))
        text = fill(rng.choice(QUESTION), question.text) if rng.random() < _WRAPPED else question.text
        return Cloze(text, question.answer, question.kind)
    if kind == "instruction":
        order, reply = instruction(scene, rng) if rng.random() < 0.5 else (rng.choice(CAPTION), caption(scene, rng))
        return Cloze(f"{order} {reply}")
    return twice(scene, rng) if kind == "twice" else Cloze(caption(scene, rng))


def described(scene: Scene, rng: Random) -> Cloze:
    """A description, a question with its answer if there is room, and another question."""
    first, last = rng.sample(questions(scene, rng), 2)
    before = f" {first.text} {first.answer}" if len(scene.things) < 3 else ""
    return Cloze(f"{describe(scene, rng)}{before} {last.text}", last.answer, last.kind)


def twice(scene: Scene, rng: Random) -> Cloze:
    """A description, with the objects in any order, and a caption of the same scene."""
    return Cloze(f"{describe(scene, rng)} {caption(scene, rng)}")
