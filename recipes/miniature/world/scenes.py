"""Scenes of the miniature world: one to three coloured shapes on a three by three grid.

The modules `descriptions`, `drawing` and `questions` convert a scene to text and pictures. About one
scene in eight is *held out*, by a hash of its combination of objects: no backbone and no adapter is trained on such a
combination, so accuracy on held-out scenes measures composition, not memory. A fully known world with generated
questions is the idea of CLEVR (https://arxiv.org/abs/1612.06890).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from random import Random

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "black")
SIZES = ("small", "large")
PLACES = (
    "top left",
    "top center",
    "top right",
    "center left",
    "center",
    "center right",
    "bottom left",
    "bottom center",
    "bottom right",
)  # in reading order: index = 3 * row + column

HELD_OUT = 0.125  # of all combinations of objects
_NUMBER_OF_OBJECTS = (1, 2, 2, 3, 3)  # drawn from uniformly
_SHARE = 0.3  # probability that an object takes the colour or the shape of the object before it

ALL_VALUES = 9  # the largest number of values of an attribute
_CELLS = (4, 0, 8, 2, 6, 1, 3, 5, 7)  # a world of n places has the first n of these

Split = Literal["train", "held_out"]


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """One coloured shape at one cell of the grid."""

    place: int
    """Index into `PLACES`, 0 to 8."""
    size: str
    """One of `SIZES`."""
    colour: str
    """One of `COLOURS`."""
    shape: str
    """One of `SHAPES`."""

    @property
    def place_name(self) -> str:
        """The name of the cell, such as `"top left"`."""
        return PLACES[self.place]

    @property
    def row(self) -> int:
        """0 at the top, 2 at the bottom."""
        return self.place // 3

    @property
    def column(self) -> int:
        """0 on the left, 2 on the right."""
        return self.place % 3

    def having(self, key: str, value: str | int) -> Thing:
        """A copy with another value of the field `key`."""
        changed: dict[str, Any] = {key: value}
        return replace(self, **changed)

    @property
    def phrase(self) -> str:
        """Size, colour and shape, such as `"small red circle"`."""
        return f"{self.size} {self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Scene:
    """One to three things in distinct cells, in reading order; no two share both colour and shape."""

    things: tuple[Thing, ...]
    """Sorted by place."""

    @property
    def combination(self) -> str:
        """The text that decides the split: size, colour and shape of all things; for a single thing also its place."""
        if len(self.things) == 1:
            return f"{self.things[0].phrase} {self.things[0].place_name}"
        return " + ".join(sorted(thing.phrase for thing in self.things))

    @property
    def split(self) -> Split:
        """`"held_out"` for about one combination in eight, the same on every machine.

        Example:
            >>> Scene((Thing(0, "small", "red", "circle"),)).split
            'held_out'
        """
        digest = hashlib.sha256(self.combination.encode()).digest()
        return "held_out" if int.from_bytes(digest[:8], "big") < HELD_OUT * 2**64 else "train"


def random_scene(rng: Random, values: int = ALL_VALUES) -> Scene:
    """A random scene of either split, of the first `values` colours, shapes and places."""
    number = rng.choice(_NUMBER_OF_OBJECTS)
    colours, shapes = COLOURS[:values], SHAPES[:values]
    things: list[Thing] = []
    for place in rng.sample(_CELLS[:values], number):
        while True:
            size, colour, shape = rng.choice(SIZES), rng.choice(colours), rng.choice(shapes)
            if things and rng.random() < _SHARE:
                if rng.random() < 0.5:
                    colour = things[-1].colour
                else:
                    shape = things[-1].shape
            if all((thing.colour, thing.shape) != (colour, shape) for thing in things):
                break
        things.append(Thing(place, size, colour, shape))
    return Scene(tuple(sorted(things)))


def sample_scene(rng: Random, split: Split = "train", values: int = ALL_VALUES) -> Scene:
    """A random scene of one split.

    Args:
        rng: The only source of randomness.
        split: The split of the scene.
        values: The number of colours, shapes and places, 3 to 9; an attribute with fewer values has all of them.

    Example:
        >>> from random import Random
        >>> sample_scene(Random(0)) == sample_scene(Random(0))
        True
    """
    while True:
        scene = random_scene(rng, values)
        if scene.split == split:
            return scene
