"""Scenes in words: descriptions, captions and instructions.

A *description* replaces the picture in a text: the language models are pretrained on it, and the oracle reads it. It
has several styles and orders, so that a model learns to read instead of matching one template; the style *scan* lists
the grid in reading order, like the visual tokens of a picture. A *caption* names every object with its place, in
reading order.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from inlay.recipes.miniature.world.scenes import COLOURS, PLACES, SHAPES, SIZES, Scene, Thing

if TYPE_CHECKING:
    from random import Random

INSTRUCTIONS: dict[str, tuple[str, ...]] = {
    "caption": (
        "describe the picture.",
        "describe the image.",
        "what is in the picture?",
        "write a caption for the image.",
        "give a short description.",
        "Describe the picture.",
    ),
    "objects": ("list the objects.", "which objects are there?", "name the objects."),
    "colours": ("name the colours.", "list the colours.", "which colours are in the picture?"),
    "shapes": ("name the shapes.", "list the shapes.", "which shapes are in the picture?"),
}

_OPENINGS = ("", "", "a picture of ", "there is ")
_SHARES = (1, 0, 0, 0)  # weights of the styles; the shipped language models were trained on the first
_EMPTY = ("-", "empty")
_DIGIT = re.compile(r"digit ([0-9])")
_LONGEST_FIRST = sorted(PLACES, key=len, reverse=True)


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentence(things: list[Thing], rng: Random) -> str:
    preposition = rng.choice(("in the", "at the"))
    return ", ".join(f"a {thing.phrase} {preposition} {thing.place_name}" for thing in things) + "."


def _places_first(things: list[Thing], rng: Random) -> str:
    mark = rng.choice((":", " -", ""))
    return ", ".join(f"{thing.place_name}{mark} {thing.phrase}" for thing in things) + "."


def _soup(things: list[Thing], rng: Random) -> str:
    parts = []
    for thing in things:
        words = [thing.size, thing.colour, thing.shape, thing.place_name]
        rng.shuffle(words)
        parts.append(" ".join(words))
    return ", ".join(parts) + "."


def _scan(things: list[Thing], rng: Random) -> str:
    empty = rng.choice(_EMPTY)
    cells = [empty] * 9
    for thing in things:
        cells[thing.place] = thing.phrase if rng.random() < 0.8 else f"{thing.shape} {thing.colour} {thing.size}"
    return " / ".join(" ".join(cells[row : row + 3]) for row in (0, 3, 6)) + "."


STYLES = (_sentence, _places_first, _soup, _scan)
"""The styles of description; the last lists the grid in reading order."""


def describe(scene: Scene, rng: Random) -> str:
    """A complete description of a scene in one line.

    Args:
        scene: The scene.
        rng: Chooses the style and the order of the objects.

    Example:
        >>> from random import Random
        >>> from inlay.recipes.miniature.world.scenes import Thing
        >>> describe(Scene((Thing(0, "small", "red", "circle"),)), Random(3))
        'a small red circle at the top left.'
    """
    things = list(scene.things)
    style = rng.choices(STYLES, _SHARES)[0]
    if style is not _scan and rng.random() < 0.4:
        rng.shuffle(things)
    return style(things, rng)


def caption(scene: Scene, rng: Random) -> str:
    """A caption: all objects with their places, in reading order."""
    return (
        rng.choice(_OPENINGS) + _join([f"a {thing.phrase} in the {thing.place_name}" for thing in scene.things]) + "."
    )


def _read_part(part: str, place: str = "") -> str | None:
    words = part.split()
    size, colour, shape = ([word for word in words if word in known] for known in (SIZES, COLOURS, SHAPES))
    place = place or next((name for name in _LONGEST_FIRST if name in part), "")
    if not (place and len(size) == len(colour) == len(shape) == 1):
        return None
    return f"{size[0]} {colour[0]} {shape[0]} in the {place}"


def _read_scan(text: str) -> list[str | None]:
    cells: list[list[str]] = []
    for word in text.replace("/", " ").split():
        if word in _EMPTY or not cells or cells[-1][0] in _EMPTY or len(cells[-1]) == 3:
            cells.append([])
        cells[-1].append(word)
    return [_read_part(" ".join(cell), place) for cell, place in zip(cells, PLACES, strict=False)]


def read_caption(text: str) -> frozenset[str]:
    """Parse a caption, or a description in any style; for judging generated captions.

    Returns:
        A phrase for each object that is named with size, colour, shape and place, or for a digit.

    Example:
        >>> sorted(read_caption("a picture of a small red circle in the top left and a star."))
        ['small red circle in the top left']
        >>> read_caption("- - - / - - - / - star red large -.")
        frozenset({'large red star in the bottom center'})
    """
    text = text.strip().removesuffix(".")
    if found := _DIGIT.search(text):
        return frozenset({found[0]})
    parts = _read_scan(text) if " / " in text else [_read_part(part) for part in re.split(r", | and ", text)]
    return frozenset(part for part in parts if part)


def instruction(scene: Scene, rng: Random) -> tuple[str, str]:
    """An instruction about a scene, and its reply."""
    kind = rng.choice(("caption", "caption", "objects", "colours", "shapes"))
    text = rng.choice(INSTRUCTIONS[kind])
    if kind == "caption":
        return text, caption(scene, rng)
    if kind == "objects":
        return text, ", ".join(f"{thing.colour} {thing.shape}" for thing in scene.things)
    words = [thing.colour if kind == "colours" else thing.shape for thing in scene.things]
    return text, ", ".join(dict.fromkeys(words))
