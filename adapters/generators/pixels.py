"""Conversion between decoded values and images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.generators.protocol import GeneratorError

__all__ = ["to_pictures", "to_pixels"]


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """``[n, 3, height, width]`` between -1 and 1, clipped -> ``n`` RGB images.

    Example:
        >>> to_pictures(torch.tensor([-1.0, 0.0, 3.0]).view(1, 3, 1, 1))[0].getpixel((0, 0))
        (0, 128, 255)
    """
    scaled = (pixels.float() * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in (scaled * 255).round().astype(np.uint8)]


def to_pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """RGB images of one size -> ``[n, 3, height, width]`` between -1 and 1.

    Raises:
        GeneratorError: no images, or several sizes.
    """
    sizes = {picture.size for picture in pictures}
    if len(sizes) != 1:
        raise GeneratorError(f"expected images of one size, got {', '.join(map(str, sorted(sizes))) or 'none'}")
    rows = [torch.from_numpy(np.array(picture.convert("RGB"))) for picture in pictures]
    return torch.stack(rows).permute(0, 3, 1, 2).float() / 127.5 - 1
