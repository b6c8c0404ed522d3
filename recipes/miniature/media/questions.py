"""Questions about drawings, sounds and clips, with short answers; the wording does not reveal the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inlay.recipes.miniature.media.specs import DIRECTIONS, PITCHES, TIMBRES, MediumSpec, Movement, Tone
from inlay.recipes.miniature.world.questions import Question
from inlay.recipes.miniature.world.scenes import COLOURS, SHAPES, SIZES

if TYPE_CHECKING:
    from random import Random

_PHRASINGS: dict[str, tuple[str, ...]] = {
    "pitch": ("is it low, middle or high?", "how high is the sound?", "what pitch does it have?"),
    "timbre": ("is it pure, bright or buzzing?", "how does it sound?", "what kind of sound is it?"),
    "count": ("how many beeps are there?", "how many beeps do you hear?", "count the beeps."),
    "tempo": ("are the beeps slow or fast?", "are the beeps fast or slow?", "how fast are the beeps?"),
    "colour": ("what colour is it?", "which colour does it have?", "tell me the colour."),
    "shape": ("what shape is it?", "which shape does it have?", "tell me the shape."),
    "size": ("is it small or large?", "is it large or small?", "what size is it?"),
    "direction": ("where does it move?", "which way does it go?", "in which direction does it move?"),
}
_COUNTS = {"one": "1", "two": "2", "three": "3"}
_VALUES: dict[str, tuple[str, ...]] = {
    "pitch": PITCHES,
    "timbre": TIMBRES,
    "colour": COLOURS,
    "shape": SHAPES,
    "size": SIZES,
    "direction": DIRECTIONS,
    "tempo": ("slow", "fast"),
}
_CLAIMS = {
    "pitch": "is the sound {}?",
    "timbre": "is the sound {}?",
    "tempo": "are the beeps {}?",
    "colour": "is it {}?",
    "shape": "is it a {}?",
    "size": "is it {}?",
    "direction": "does it move {}?",
}


def attributes_of(value: MediumSpec) -> dict[str, str]:
    """The attributes that questions are about, with the answers.

    Example:
        >>> attributes_of(Tone("two slow", "high", "pure"))
        {'pitch': 'high', 'timbre': 'pure', 'count': '2', 'tempo': 'slow'}
    """
    if isinstance(value, Tone):
        count, tempo = value.rhythm.split()
        asked = {"pitch": value.pitch, "timbre": value.timbre, "count": _COUNTS[count]}
        return asked if tempo == "long" else {**asked, "tempo": tempo}
    if isinstance(value, Movement):
        return {"colour": value.colour, "shape": value.shape, "direction": value.direction}
    return {"colour": value.colour, "shape": value.shape, "size": value.size}


def ask_of(value: MediumSpec, kind: str, rng: Random) -> Question:
    """One question.

    Args:
        value: The specification of the medium.
        kind: One of its attributes, or `"yes"` or `"no"` for a question with that answer.
        rng: Chooses the wording.
    """
    answers = attributes_of(value)
    if kind not in ("yes", "no"):
        return Question(kind, rng.choice(_PHRASINGS[kind]), answers[kind])
    attribute = rng.choice([name for name in answers if name in _CLAIMS])
    wrong = [other for other in _VALUES[attribute] if other != answers[attribute]]
    claimed = answers[attribute] if kind == "yes" else rng.choice(wrong)
    return Question("yesno", _CLAIMS[attribute].format(claimed), kind)


def questions_of(value: MediumSpec, rng: Random) -> list[Question]:
    """One question of each kind, in random order."""
    kinds = [*attributes_of(value), rng.choice(("yes", "no"))]
    rng.shuffle(kinds)
    return [ask_of(value, kind, rng) for kind in kinds]
