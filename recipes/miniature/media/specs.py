"""Specifications of single drawings, sounds, and clips of moving shapes.

About one combination in eight is *held out*, by the same hash as the scenes of `inlay.recipes.miniature.world.scenes`:
neither a backbone nor an adapter is trained on it. Every value of every attribute occurs in training.

Conversion between kinds (`as_sound`, `as_clip`, `as_drawing`): the shape decides the timbre (round: pure, boxy: bright,
spiky: buzzing), the size or direction decides the pitch (large or down: low, small or up: high, sideways: middle).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from inlay.recipes.miniature.world.scenes import COLOURS, HELD_OUT, SHAPES, SIZES, Split

if TYPE_CHECKING:
    from random import Random

PITCHES = ("low", "middle", "high")
TIMBRES = ("pure", "bright", "buzzing")
RHYTHMS = ("one long", "two slow", "two fast", "three slow", "three fast")
DIRECTIONS = ("left", "right", "up", "down")

_TIMBRE_OF = {
    "circle": "pure",
    "ring": "pure",
    "square": "bright",
    "cross": "bright",
    "triangle": "buzzing",
    "star": "buzzing",
}
_PITCH_OF = {"small": "high", "large": "low", "up": "high", "down": "low", "left": "middle", "right": "middle"}


@dataclass(frozen=True, slots=True)
class Drawing:
    """One shape in the middle of a picture."""

    size: str
    """One of `SIZES`."""
    colour: str
    """One of `COLOURS`."""
    shape: str
    """One of `SHAPES`."""

    @property
    def combination(self) -> str:
        """The text that decides the split; both sizes of a coloured shape are in the same split."""
        return f"draw a {self.colour} {self.shape}"

    @property
    def split(self) -> Split:
        """Training or held out."""
        return _split(self.combination)


@dataclass(frozen=True, slots=True)
class Tone:
    """One or several beeps of one pitch."""

    rhythm: str
    """One of `RHYTHMS`."""
    pitch: str
    """One of `PITCHES`."""
    timbre: str
    """One of `TIMBRES`."""

    @property
    def combination(self) -> str:
        """The text that decides the split: all attributes."""
        return f"{self.rhythm} {self.pitch} {self.timbre} beep"

    @property
    def split(self) -> Split:
        """Training or held out."""
        return _split(self.combination)


@dataclass(frozen=True, slots=True)
class Movement:
    """One shape that crosses the picture."""

    colour: str
    """One of `COLOURS`."""
    shape: str
    """One of `SHAPES`."""
    direction: str
    """One of `DIRECTIONS`."""

    @property
    def combination(self) -> str:
        """The text that decides the split: all attributes."""
        return f"a clip of a {self.colour} {self.shape} {self.direction}"

    @property
    def split(self) -> Split:
        """Held out if the combination or the drawing of the moving shape is held out."""
        still = Drawing(SIZES[0], self.colour, self.shape).split
        return "held_out" if still == "held_out" else _split(self.combination)


MediumSpec: TypeAlias = Drawing | Tone | Movement
Kind = TypeVar("Kind", Drawing, Tone, Movement)


def _split(combination: str) -> Split:
    digest = hashlib.sha256(combination.encode()).digest()
    return "held_out" if int.from_bytes(digest[:8], "big") < HELD_OUT * 2**64 else "train"


DRAWINGS = tuple(Drawing(size, colour, shape) for size in SIZES for colour in COLOURS for shape in SHAPES)
TONES = tuple(Tone(rhythm, pitch, timbre) for rhythm in RHYTHMS for pitch in PITCHES for timbre in TIMBRES)
MOVEMENTS = tuple(
    Movement(colour, shape, direction) for colour in COLOURS for shape in SHAPES for direction in DIRECTIONS
)

ALL_SPECS: tuple[MediumSpec, ...] = (*DRAWINGS, *TONES, *MOVEMENTS)

_ALL: dict[type, tuple[MediumSpec, ...]] = {Drawing: DRAWINGS, Tone: TONES, Movement: MOVEMENTS}


def sample_spec(kind: type[Kind], rng: Random, split: Split = "train") -> Kind:
    """A random specification of one kind and split, uniformly.

    Example:
        >>> from random import Random
        >>> sample_spec(Tone, Random(0), "held_out").split
        'held_out'
    """
    while True:
        value = rng.choice(_ALL[kind])
        if value.split == split and isinstance(value, kind):
            return value


def sample_kind(kind: type[MediumSpec], rng: Random, split: Split = "train") -> MediumSpec:
    """:func:`sample_spec` for a kind that is known only at run time."""
    if kind is Drawing:
        return sample_spec(Drawing, rng, split)
    return sample_spec(Tone, rng, split) if kind is Tone else sample_spec(Movement, rng, split)


def sample_any(rng: Random, split: Split = "train") -> MediumSpec:
    """A random drawing, tone or movement of one split; the three kinds are equally likely."""
    return sample_kind(rng.choice((Drawing, Tone, Movement)), rng, split)


def as_sound(seen: Drawing | Movement, rhythm: str) -> Tone:
    """The sound of a drawing or a clip, in a given rhythm."""
    height = seen.size if isinstance(seen, Drawing) else seen.direction
    return Tone(rhythm, _PITCH_OF[height], _TIMBRE_OF[seen.shape])


def as_clip(seen: Drawing, direction: str) -> Movement:
    """The clip of a moving drawing; the size is lost."""
    return Movement(seen.colour, seen.shape, direction)


def as_drawing(seen: Movement, size: str) -> Drawing:
    """The drawing, in a given size, of the shape that moves in a clip."""
    return Drawing(size, seen.colour, seen.shape)
