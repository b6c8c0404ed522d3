"""Captions of drawings, sounds and clips, and the prompts of generators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inlay.recipes.miniature.media.specs import (
    DIRECTIONS,
    PITCHES,
    RHYTHMS,
    TIMBRES,
    Drawing,
    MediumSpec,
    Movement,
    Tone,
)
from inlay.recipes.miniature.world.scenes import COLOURS, SHAPES, SIZES

if TYPE_CHECKING:
    from random import Random

_WORDINGS = {
    Drawing: ("{}", "{}", "{}.", "a picture of {}", "an image of {}", "a drawing of {}."),
    Tone: ("{}", "{}", "{}.", "the sound of {}", "a sound: {}", "a recording of {}."),
    Movement: ("{}", "{}", "{}.", "a clip of {}", "a video of {}", "a short clip of {}."),
}
"""Prompts, with a place for the caption; the plain caption is the most frequent."""
_BARE = 0.12  # share of the prompts for drawings that omit the size


def caption_of(value: MediumSpec) -> str:
    """The caption of a drawing, a sound or a clip: all its attributes.

    Example:
        >>> caption_of(Drawing("large", "red", "circle"))
        'a large red circle'
        >>> caption_of(Tone("two slow", "high", "pure"))
        'two slow high pure beeps'
        >>> caption_of(Movement("red", "circle", "left"))
        'a red circle moving left'
    """
    if isinstance(value, Drawing):
        return f"a {value.size} {value.colour} {value.shape}"
    if isinstance(value, Tone):
        return f"{value.rhythm} {value.pitch} {value.timbre} beep{'' if value.rhythm.startswith('one') else 's'}"
    return f"{_article(value.colour)} {value.colour} {value.shape} moving {value.direction}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def prompts_of(value: MediumSpec) -> tuple[str, ...]:
    """All prompts for a specification."""
    return tuple(dict.fromkeys(wording.format(caption_of(value)) for wording in _WORDINGS[type(value)]))


def prompt_of(value: MediumSpec, rng: Random) -> str:
    """A random prompt; for a drawing the size is sometimes omitted.

    Args:
        value: The specification.
        rng: Chooses the wording.
    """
    said = caption_of(value)
    if isinstance(value, Drawing) and rng.random() < _BARE:
        said = f"{_article(value.colour)} {value.colour} {value.shape}"
    return rng.choice(_WORDINGS[type(value)]).format(said)


def read_spec(text: str) -> MediumSpec | None:
    """Parse a caption or prompt: the specification, or None if an attribute is missing. Other words are ignored.

    Example:
        >>> read_spec("play the sound of two slow high pure beeps, please.")
        Tone(rhythm='two slow', pitch='high', timbre='pure')
        >>> read_spec("a red circle") is None
        True
    """
    words = text.lower().replace(".", " ").replace(",", " ").replace(":", " ").split()
    joined = f" {' '.join(words)} "

    def named(values: tuple[str, ...]) -> str | None:
        found = [value for value in values if f" {value} " in joined]
        return found[0] if len(found) == 1 else None

    rhythm, pitch, timbre = named(RHYTHMS), named(PITCHES), named(TIMBRES)
    if rhythm and pitch and timbre:
        return Tone(rhythm, pitch, timbre)
    colour, shape, size, direction = named(COLOURS), named(SHAPES), named(SIZES), named(DIRECTIONS)
    if colour and shape and direction and "moving" in words:
        return Movement(colour, shape, direction)
    if colour and shape and size:
        return Drawing(size, colour, shape)
    return None
