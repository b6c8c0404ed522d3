"""Draws scenes as pictures: anti-aliased, with jitter of position, scale, angle, hue and background."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from inlay.recipes.miniature.world.scenes import Scene, Thing

if TYPE_CHECKING:
    from random import Random

PICTURE_SIDE = 48  # pixels, the default
RGB = {
    "red": (214, 38, 38),
    "green": (44, 158, 62),
    "blue": (40, 72, 210),
    "yellow": (240, 212, 40),
    "purple": (136, 52, 176),
    "orange": (242, 132, 28),
    "cyan": (62, 200, 214),
    "black": (26, 26, 28),
}

ROUND = ("circle", "ring")  # shapes that rotation does not change

_RADIUS = {"small": 0.29, "large": 0.44}  # of a cell's side
_SUPERSAMPLING = 4
_POLYGONS: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": [(0.0, -1.0), (0.95, 0.75), (-0.95, 0.75)],
    "star": [
        (radius * math.sin(math.pi * corner / 5), -radius * math.cos(math.pi * corner / 5))
        for corner, radius in enumerate((1.05, 0.45) * 5)
    ],
    "cross": [
        (sign_x * x, sign_y * y)
        for sign_x, sign_y, corner in (
            (1, -1, ((0.32, 1.0), (0.32, 0.32), (1.0, 0.32))),
            (1, 1, ((1.0, 0.32), (0.32, 0.32), (0.32, 1.0))),
            (-1, 1, ((0.32, 1.0), (0.32, 0.32), (1.0, 0.32))),
            (-1, -1, ((1.0, 0.32), (0.32, 0.32), (0.32, 1.0))),
        )
        for x, y in corner
    ],
}
_RING_HOLE = 0.55  # of the ring's radius


def tint(colour: tuple[int, int, int], rng: Random, spread: int) -> tuple[int, int, int]:
    """A colour with jitter of up to `spread` in each channel."""
    red, green, blue = (min(255, max(0, part + rng.randint(-spread, spread))) for part in colour)
    return red, green, blue


def _draw_thing(
    canvas: ImageDraw.ImageDraw, thing: Thing, cell: float, ground: tuple[int, int, int], rng: Random
) -> None:
    radius = _RADIUS[thing.size] * cell * rng.uniform(0.93, 1.07)
    play = min(0.12 * cell, cell / 2 - radius)
    x = (thing.column + 0.5) * cell + rng.uniform(-play, play)
    y = (thing.row + 0.5) * cell + rng.uniform(-play, play)
    fill = tint(RGB[thing.colour], rng, 12)
    angle = 0.0 if thing.shape in ROUND else rng.uniform(-8, 8)
    paint(canvas, thing.shape, (x, y), radius, fill, ground, angle)


def paint(
    canvas: ImageDraw.ImageDraw,
    shape: str,
    centre: tuple[float, float],
    radius: float,
    fill: tuple[int, int, int],
    ground: tuple[int, int, int],
    angle: float = 0.0,
) -> None:
    """Paint one shape.

    Args:
        canvas: The picture.
        shape: One of `SHAPES`.
        centre: In pixels.
        radius: In pixels.
        fill: The colour of the shape.
        ground: The colour of the hole of a ring.
        angle: In degrees; ignored for round shapes.
    """
    x, y = centre
    if shape in ROUND:
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        if shape == "ring":
            hole = _RING_HOLE * radius
            canvas.ellipse((x - hole, y - hole, x + hole, y + hole), fill=ground)
        return
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    corners = [(radius * a, radius * b) for a, b in _POLYGONS[shape]]
    canvas.polygon([(x + a * cosine - b * sine, y + a * sine + b * cosine) for a, b in corners], fill=fill)


def draw_scene(scene: Scene, rng: Random, size: int = PICTURE_SIDE) -> Image.Image:
    """Draw a scene.

    Args:
        scene: The scene; every object is drawn inside its cell.
        rng: The source of the jitter.
        size: Side in pixels, 32 to 64 in the data sets.

    Returns:
        An RGB image of size x size.

    Example:
        >>> from random import Random
        >>> scene = Scene((Thing(4, "large", "red", "circle"),))
        >>> red, green, blue = draw_scene(scene, Random(0)).getpixel((24, 24))
        >>> red > 190 and green < 60 and blue < 60
        True
    """
    grey = rng.randint(212, 250)
    ground = tint((grey, grey, grey), rng, 5)
    side = size * _SUPERSAMPLING
    image = Image.new("RGB", (side, side), ground)
    canvas = ImageDraw.Draw(image)
    for thing in scene.things:
        _draw_thing(canvas, thing, side / 3, ground, rng)
    return image.reduce(_SUPERSAMPLING)
