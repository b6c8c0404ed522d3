"""Resizing a picture of any size to the square input of a vision encoder.

The systems differ, and mixing their rules costs accuracy: BLIP-2 squashes, LLaVA 1.5 pads to a square with the mean
colour in its second stage (https://arxiv.org/abs/2310.03744), CLIP (https://arxiv.org/abs/2103.00020), LLaVA 1.0 and
LLaVA 1.5's first stage resize the shorter side and crop the centre. All resample bicubically, as the originals do.
transformers and torchvision (ImageBind) crop the same centre, except that they round half pixels differently.

Time and memory depend on the picture and the target, not on the square of the longer side: 1 x 65,535 pixels are
resized without visiting the 4 gigapixels of 65,535 x 65,535. Up to `_EXACT` pixels the result is bit-identical to the
original rule; above, rounding may differ.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, assert_never

from PIL import Image

__all__ = ["Colour", "Geometry", "HalfPixel", "fit"]

Geometry: TypeAlias = Literal["squash", "pad", "crop"]
"""How an image becomes a square: scaled without regard to its shape, padded to a square, or cut to its middle."""
Colour: TypeAlias = tuple[int, int, int]
HalfPixel: TypeAlias = Literal["down", "even"]
"""How a centre between two pixels is rounded: down (transformers), or to the even pixel (torchvision)."""

_BICUBIC = Image.Resampling.BICUBIC
_BAND = 1 << 22
"""Limit on pixels that are padded and resampled at once (16 MiB in Pillow's RGB)."""
_RESIZED = 1 << 25
"""Limit on pixels of a resized picture before its centre is cropped (128 MiB)."""
_EXACT = 1 << 27
"""Limit on pixels, padding included, that are resampled for a bit-exact result: about half a second."""


def fit(image: Image.Image, size: int, geometry: Geometry, fill: Colour, half_pixel: HalfPixel = "down") -> Image.Image:
    """Resize a picture to a square.

    Args:
        image: an RGB picture.
        size: side of the result, in pixels.
        geometry: ``squash`` resizes both sides to `size` (BLIP-2); ``pad`` centres the picture in a square of colour
            `fill` and resizes that (LLaVA 1.5, second stage); ``crop`` resizes the shorter side to `size` and crops the
            centre (CLIP).
        fill: colour of the padding, 0..255; only ``pad`` uses it.
        half_pixel: how the corner of the centre is rounded; only ``crop`` uses it.

    Returns:
        An RGB picture of `size` x `size`.

    Example:
        >>> wide = Image.new("RGB", (64, 32), (255, 0, 0))
        >>> [fit(wide, 16, "pad", (0, 0, 255)).getpixel((8, y)) for y in (0, 8)]
        [(0, 0, 255), (255, 0, 0)]
        >>> fit(wide, 16, "crop", (0, 0, 255)).getpixel((8, 0))
        (255, 0, 0)
    """
    match geometry:
        case "squash":
            return image.resize((size, size), _BICUBIC)
        case "pad":
            return _pad(image, size, fill)
        case "crop":
            return _crop(image, size, half_pixel)
    assert_never(geometry)


def _pad(image: Image.Image, size: int, fill: Colour) -> Image.Image:
    """Resize the padded square without building it.

    For a square, Pillow resamples rows first and columns second, rounding to 8 bits in between. Rows of padding are
    constant, so only the picture's own rows are resampled, band by band, and then the columns. In a tall strip those
    rows are nearly all padding; its columns are resampled first, and only the intermediate rounding differs.
    """
    width, height = image.size
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    if height > width and side * side > _EXACT:
        low = Image.new("RGB", (side, size), fill)
        low.paste(image.resize((width, size), _BICUBIC), (left, 0))
        return low.resize((size, size), _BICUBIC)
    narrow = Image.new("RGB", (size, side), fill)
    step = max(1, _BAND // side)
    for start in range(0, height, step):
        rows = min(step, height - start)
        band = Image.new("RGB", (side, rows), fill)
        band.paste(image.crop((0, start, width, start + rows)), (left, 0))
        narrow.paste(band.resize((size, rows), _BICUBIC), (0, top + start))
    return narrow.resize((size, size), _BICUBIC)


def _crop(image: Image.Image, size: int, half_pixel: HalfPixel) -> Image.Image:
    """Resize the shorter side to `size`, then cut; sizes round down, as in transformers and torchvision.

    If the resized picture would exceed the limit, only its centre is resampled. The pixels are equal up to rounding:
    Pillow 13 resamples rows or columns first depending on the sizes, and rounds in between.
    """
    width, height = image.size
    shorter, longer = min(width, height), max(width, height)
    stretched = int(size * longer / shorter)
    new_width, new_height = (size, stretched) if width <= height else (stretched, size)
    middle = math.floor if half_pixel == "down" else round
    left, top = middle((new_width - size) / 2), middle((new_height - size) / 2)
    if new_width * new_height > _RESIZED:
        across, down = width / new_width, height / new_height
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        return image.resize((size, size), _BICUBIC, box=box)
    return image.resize((new_width, new_height), _BICUBIC).crop((left, top, left + size, top + size))
