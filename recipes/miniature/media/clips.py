"""Renders single shapes as pictures and clips: anti-aliased, with jitter of place, size, angle and hue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from inlay.adapters.media.video import Video
from inlay.recipes.miniature.world.drawing import RGB, ROUND, paint, tint

if TYPE_CHECKING:
    from random import Random

    from inlay.recipes.miniature.media.specs import Drawing, Movement

SIDE = 32  # pixels, the default
FRAMES = 4  # pictures in a clip
FPS = 5.0
RADIUS = {"small": 0.2, "large": 0.36}  # of the side
MOVING_RADIUS = 0.22  # of the side
TRAVEL = 0.34  # of the side, from the first frame to the last

_STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_SUPERSAMPLING = 4


class _Look:
    """The attributes that all frames of a clip share."""

    def __init__(self, shape: str, colour: str, radius: float, side: int, rng: Random) -> None:
        grey = rng.randint(212, 250)
        self.ground = tint((grey, grey, grey), rng, 5)
        self.fill = tint(RGB[colour], rng, 12)
        self.shape, self.side = shape, side * _SUPERSAMPLING
        self.radius = radius * self.side * rng.uniform(0.93, 1.07)
        self.angle = 0.0 if shape in ROUND else rng.uniform(-8, 8)

    def at(self, x: float, y: float) -> Image.Image:
        """The picture with the centre of the shape at (x, y), as fractions of the side."""
        image = Image.new("RGB", (self.side, self.side), self.ground)
        centre = (x * self.side, y * self.side)
        paint(ImageDraw.Draw(image), self.shape, centre, self.radius, self.fill, self.ground, self.angle)
        return image.reduce(_SUPERSAMPLING)


def draw_shape(drawing: Drawing, rng: Random, side: int = SIDE) -> Image.Image:
    """Draw one shape near the middle.

    Args:
        drawing: The specification.
        rng: The source of the jitter.
        side: In pixels.

    Returns:
        An RGB image of side x side.

    Example:
        >>> from random import Random
        >>> from inlay.recipes.miniature.media.specs import Drawing
        >>> red, green, blue = draw_shape(Drawing("large", "red", "circle"), Random(0)).getpixel((16, 16))
        >>> red > 190 and green < 60 and blue < 60
        True
    """
    look = _Look(drawing.shape, drawing.colour, RADIUS[drawing.size], side, rng)
    return look.at(0.5 + rng.uniform(-0.07, 0.07), 0.5 + rng.uniform(-0.07, 0.07))


def render_clip(movement: Movement, rng: Random, side: int = SIDE, frames: int = FRAMES) -> Video:
    """Render a clip of one shape that moves across the picture.

    Args:
        movement: The specification.
        rng: The source of the jitter.
        side: In pixels.
        frames: At least two.

    Returns:
        A clip of 0.8 seconds, of pictures of side x side.
    """
    look = _Look(movement.shape, movement.colour, MOVING_RADIUS, side, rng)
    middle = 0.5 + rng.uniform(-0.04, 0.04), 0.5 + rng.uniform(-0.04, 0.04)
    travel = TRAVEL * rng.uniform(0.9, 1.1)
    right, down = _STEPS[movement.direction]
    ways = [travel * (frame / (frames - 1) - 0.5) for frame in range(frames)]
    pictures = tuple(look.at(middle[0] + right * way, middle[1] + down * way) for way in ways)
    return Video(pictures, FPS * frames / FRAMES)
