"""Dialogues in which the modality changes: "draw a large red circle.", "make it move left.", "now as a sound.".

A *turn* is a request and a reply in words, in some turns with a generated medium. The rules in
`inlay.recipes.miniature.media.specs` decide how a medium becomes another one, so every turn has one right reply.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inlay.recipes.miniature.media.captions import caption_of
from inlay.recipes.miniature.media.questions import ask_of, attributes_of
from inlay.recipes.miniature.media.specs import (
    DIRECTIONS,
    PITCHES,
    RHYTHMS,
    TIMBRES,
    Drawing,
    MediumSpec,
    Movement,
    Tone,
    as_clip,
    as_drawing,
    as_sound,
    sample_any,
)
from inlay.recipes.miniature.world.scenes import COLOURS, SIZES, Split

if TYPE_CHECKING:
    from random import Random

_REQUESTS: dict[type, tuple[str, ...]] = {
    Drawing: ("draw {}.", "paint {}.", "show me a picture of {}.", "make an image of {}."),
    Tone: ("play {}.", "let me hear {}.", "make the sound of {}.", "i want to hear {}."),
    Movement: ("film {}.", "show me a clip of {}.", "make a video of {}.", "i want to see a clip of {}."),
}
_DESCRIBE: dict[type, tuple[str, ...]] = {
    Drawing: ("what is in the picture?", "describe the picture."),
    Tone: ("what do you hear?", "describe the sound."),
    Movement: ("what happens in the clip?", "describe the clip."),
}
_CHANGES = 0.75  # share of the later turns that generate a medium; the others ask about the last one
_LEAST, _MOST = 2, 4  # turns


@dataclass(frozen=True, slots=True)
class Turn:
    """A request and its reply."""

    asked: str
    """The request in words."""
    said: str
    """The reply in words."""
    generated: MediumSpec | None = None
    """The medium that the reply generates."""
    shown: MediumSpec | None = None
    """The medium before the request."""


def announce(value: MediumSpec) -> str:
    """The text of the reply with a generated medium.

    Example:
        >>> announce(Movement("red", "circle", "left"))
        'here is a red circle moving left.'
    """
    return f"here {'are' if isinstance(value, Tone) and caption_of(value).endswith('s') else 'is'} {caption_of(value)}."


def request(value: MediumSpec, rng: Random) -> Turn:
    """A request for a medium."""
    return Turn(rng.choice(_REQUESTS[type(value)]).format(caption_of(value)), announce(value), value)


def description(value: MediumSpec, rng: Random) -> Turn:
    """A medium, and the request to describe it."""
    return Turn(rng.choice(_DESCRIBE[type(value)]), f"{caption_of(value)}.", shown=value)


def question(value: MediumSpec, rng: Random) -> Turn:
    """A question about the last medium."""
    kind = rng.choice([*attributes_of(value), "yes", "no"])
    asked = ask_of(value, kind, rng)
    return Turn(asked.text, asked.answer)


def _another(values: tuple[str, ...], old: str, rng: Random) -> str:
    return rng.choice([value for value in values if value != old])


def _of_drawing(value: Drawing, rng: Random) -> Turn:
    which = rng.randrange(4)
    if which == 0:
        new: MediumSpec = as_clip(value, rng.choice(DIRECTIONS))
        return _change(("make it move {}.", "now it moves {}.", "let it move {}."), _last_word(new), new, rng)
    if which == 1:
        return _as_sound(value, rng)
    if which == 2:
        colour = _another(COLOURS, value.colour, rng)
        return _change(("make it {}.", "now in {}."), colour, replace(value, colour=colour), rng)
    size = _another(SIZES, value.size, rng)
    return _change(("make it {}.", "now {}."), size, replace(value, size=size), rng)


def _of_tone(value: Tone, rng: Random) -> Turn:
    which = rng.randrange(3)
    if which == 0:
        pitch = _another(PITCHES, value.pitch, rng)
        return _change(("make it {}.", "now {}."), pitch, replace(value, pitch=pitch), rng)
    if which == 1:
        timbre = _another(TIMBRES, value.timbre, rng)
        return _change(("make it {}.", "now {}."), timbre, replace(value, timbre=timbre), rng)
    rhythm = _another(RHYTHMS, value.rhythm, rng)
    return _change(("make it {}.", "now {}."), rhythm + _beeps(rhythm), replace(value, rhythm=rhythm), rng)


def _of_movement(value: Movement, rng: Random) -> Turn:
    which = rng.randrange(4)
    if which == 0:
        size = rng.choice(SIZES)
        return _change(("now as a {} picture.", "stop it, as a {} picture."), size, as_drawing(value, size), rng)
    if which == 1:
        return _as_sound(value, rng)
    if which == 2:
        colour = _another(COLOURS, value.colour, rng)
        return _change(("make it {}.", "now in {}."), colour, replace(value, colour=colour), rng)
    direction = _another(DIRECTIONS, value.direction, rng)
    wordings = ("make it move {}.", "now it moves {}.", "let it move {}.")
    return _change(wordings, direction, replace(value, direction=direction), rng)


def _as_sound(value: Drawing | Movement, rng: Random) -> Turn:
    rhythm = rng.choice(RHYTHMS)
    words = rhythm + _beeps(rhythm)
    return _change(("now as a sound, {}.", "how does it sound, {}?"), words, as_sound(value, rhythm), rng)


def _beeps(rhythm: str) -> str:
    return " beep" if rhythm.startswith("one") else " beeps"


def _last_word(value: MediumSpec) -> str:
    return caption_of(value).split()[-1]


def _change(wordings: tuple[str, ...], word: str, new: MediumSpec, rng: Random) -> Turn:
    return Turn(rng.choice(wordings).format(word), announce(new), new)


def change(value: MediumSpec, rng: Random, split: Split) -> Turn:
    """A request to change the last medium, in the same or another modality.

    Args:
        value: The specification of the last medium.
        rng: Chooses the change.
        split: For `"train"` the generated medium is of the training split; for `"held_out"` it is of either split.
    """
    while True:
        turn = _change_of(value, rng)
        if split == "held_out" or (turn.generated is not None and turn.generated.split == split):
            return turn


def _change_of(value: MediumSpec, rng: Random) -> Turn:
    if isinstance(value, Drawing):
        return _of_drawing(value, rng)
    return _of_tone(value, rng) if isinstance(value, Tone) else _of_movement(value, rng)


def dialogue(rng: Random, split: Split) -> list[Turn]:
    """Two to four turns about one medium that changes; the first medium is of the split.

    Example:
        >>> from random import Random
        >>> for turn in dialogue(Random(4), "train"):
        ...     print(turn.asked, "->", turn.said)
        make an image of a small cyan triangle. -> here is a small cyan triangle.
        now it moves left. -> here is a cyan triangle moving left.
        make it black. -> here is a black triangle moving left.
    """
    value = sample_any(rng, split)
    which = rng.random()
    if which < 0.5:
        turns = [request(value, rng)]
    elif which < 0.7:
        turns = [description(value, rng)]
    else:
        turns = [replace(change(value, rng, split), shown=value)]
    for _ in range(rng.randint(_LEAST, _MOST) - 1):
        value = turns[-1].generated or value
        turns.append(change(value, rng, split) if rng.random() < _CHANGES else question(value, rng))
    return turns
