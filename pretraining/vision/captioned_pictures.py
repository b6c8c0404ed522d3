"""Pictures and texts for the miniature CLIP: batches with hard negatives (twins), and a phrase for each patch.

Plain contrastive batches do not teach where an attribute is: the bag of words distinguishes most captions
(https://arxiv.org/abs/2210.01936). So every scene comes with twins: scenes that differ from it by one attribute, one
exchange or one move. Patches are matched with a phrase about the object that covers them, like regions in RegionCLIP
(https://arxiv.org/abs/2112.09106).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from inlay.recipes.miniature.world.descriptions import caption, describe
from inlay.recipes.miniature.world.digits import digit_caption, draw_digit, load_digits
from inlay.recipes.miniature.world.drawing import draw_scene
from inlay.recipes.miniature.world.scenes import COLOURS, PLACES, SHAPES, SIZES, Scene, Split, sample_scene

if TYPE_CHECKING:
    from random import Random

EMPTY = "empty background"
TWINS = 4  # scenes in a group: one and its twins
_VALUES = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}
_PIXELS = (36, 40, 44, 48, 48, 52, 56, 64)


@dataclass(frozen=True, slots=True)
class Pair:
    """One picture with its texts."""

    image: Image.Image
    """RGB, square, of varied size."""
    text: str
    """The caption."""
    phrases: tuple[str, ...]
    """A phrase for each of the nine cells, in reading order."""


def twin(scene: Scene, rng: Random, split: Split) -> Scene:
    """A scene of the same split that differs by one attribute, one exchange of an attribute, or one move."""
    while True:
        things = list(scene.things)
        first = rng.randrange(len(things))
        key = rng.choice(("size", "colour", "shape", "place"))
        if len(things) > 1 and rng.random() < 0.5:
            second = rng.choice([index for index in range(len(things)) if index != first])
            values = getattr(things[second], key), getattr(things[first], key)
            things[first] = things[first].having(key, values[0])
            things[second] = things[second].having(key, values[1])
        elif key == "place":
            free = [place for place in range(9) if all(thing.place != place for thing in things)]
            things[first] = things[first].having("place", rng.choice(free))
        else:
            things[first] = things[first].having(key, rng.choice(_VALUES[key]))
        other = Scene(tuple(sorted(things)))
        looks = {(thing.colour, thing.shape) for thing in things}
        if other != scene and len(looks) == len(things) and other.split == split:
            return other


def scene_pair(scene: Scene, rng: Random, *, place: bool) -> Pair:
    """A scene with its texts; with `place`, the phrases of the cells name their places too."""
    phrases = [EMPTY] * 9
    for thing in scene.things:
        phrases[thing.place] = f"a {thing.phrase}"
    if place:
        phrases = [f"{phrase} in the {name}" for phrase, name in zip(phrases, PLACES, strict=True)]
    text = caption(scene, rng) if rng.random() < 0.8 else describe(scene, rng)
    return Pair(draw_scene(scene, rng, rng.choice(_PIXELS)), text, tuple(phrases))


def digit_pair(rng: Random) -> Pair:
    """One of the training digits, slightly rotated, shifted and stretched."""
    digit = rng.choice(load_digits("train"))
    image = draw_digit(digit, 48)
    stretch = rng.uniform(0.88, 1.12), rng.uniform(0.88, 1.12)
    slant, shift = rng.uniform(-0.15, 0.15), (rng.uniform(-3, 3), rng.uniform(-3, 3))
    turn = rng.uniform(-0.12, 0.12)
    matrix = (
        stretch[0],
        slant + turn,
        shift[0] + 24 * (1 - stretch[0] - slant - turn),
        -turn,
        stretch[1],
        shift[1] + 24 * (1 - stretch[1] + turn),
    )
    image = image.transform((48, 48), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(255,) * 3)
    text = digit_caption(digit.value)
    return Pair(image, text, (text[:-1],) * 9)


def sample_pairs(rng: Random, *, groups: int, digits: int, split: Split = "train") -> list[Pair]:
    """`groups` groups of twins and `digits` digits."""
    place = rng.random() < 0.8
    pairs = []
    for _ in range(groups):
        scene = sample_scene(rng, split)
        scenes = [scene, *(twin(scene, rng, split) for _ in range(TWINS - 1))]
        pairs += [scene_pair(one, rng, place=place) for one in scenes]
    return pairs + [digit_pair(rng) for _ in range(digits)]
