"""Between decoded numbers and pictures: pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.generators.protocol import GeneratorError, Size

__all__ = ["MAX_SIDE", "checked_sides", "cross_attention_width", "to_pictures", "to_pixels"]

MAX_SIDE = 8192
"""Longest side and most frames that are tried."""


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """``[n, 3, height, width]`` between -1 and 1, clipped -> ``n`` RGB pictures.

    Example:
        >>> to_pictures(torch.tensor([-1.0, 0.0, 3.0]).view(1, 3, 1, 1))[0].getpixel((0, 0))
        (0, 128, 255)
    """
    scaled = (pixels.float() * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in (scaled * 255).round().astype(np.uint8)]


def to_pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """RGB pictures of one size -> ``[n, 3, height, width]`` between -1 and 1.

    Raises:
        GeneratorError: none, or several sizes.
    """
    sizes = {picture.size for picture in pictures}
    if len(sizes) != 1:
        raise GeneratorError(f"expected pictures of one size, got {', '.join(map(str, sorted(sizes))) or 'none'}")
    rows = [torch.from_numpy(np.array(picture.convert("RGB"))) for picture in pictures]
    return torch.stack(rows).permute(0, 3, 1, 2).float() / 127.5 - 1


def checked_sides(size: Size, count: int, factor: int) -> tuple[int, ...]:
    """A size in pixels whose last two numbers the decoder can give.

    Raises:
        GeneratorError: another count of numbers, or a side that is no multiple of ``factor``.
    """
    if not isinstance(size, (tuple, list)) or len(size) != count or not all(isinstance(n, int) for n in size):
        names = "(height, width)" if count == 2 else "(frames, height, width)"
        raise GeneratorError(f"size: expected {names} as whole numbers, got {size!r}")
    if any(not 1 <= side <= MAX_SIDE for side in size) or any(side % factor for side in size[-2:]):
        raise GeneratorError(
            f"size: expected sides from {factor} to {MAX_SIDE} that {factor} divides, got {tuple(size)}"
        )
    return tuple(size)


def cross_attention_width(unet: object, family: str) -> int:
    """Values per vector that a unet with cross-attention reads.

    Raises:
        GeneratorError: it reads something else.
    """
    width = getattr(getattr(unet, "config", None), "cross_attention_dim", None)
    if not isinstance(width, int):
        raise GeneratorError(
            f"{family}: expected a unet with one cross_attention_dim, got {width!r}: its conditioning is not one "
            "sequence of vectors"
        )
    return width
