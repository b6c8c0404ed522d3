"""Pictures as inputs of the vision encoders: 48 pixels a side, CLIP's mean and deviation, patches of 8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from inlay.recipes.miniature.world.drawing import PICTURE_SIDE

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

PATCH = 8  # pixels a side
PATCHES = PICTURE_SIDE // PATCH  # a side
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])  # CLIP's own
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def pixels(images: list[Image.Image]) -> Tensor:
    """Square RGB images as the image processors return them, but faster: shape (batch, 3, 48, 48)."""
    from PIL import Image

    resized = [np.asarray(image.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BICUBIC)) for image in images]
    scaled = (torch.from_numpy(np.stack(resized)).float() / 255 - MEAN) / STD
    return scaled.permute(0, 3, 1, 2).contiguous()


def cell_of_patch() -> Tensor:
    """For each of the 36 patches, the index of its cell."""
    row = torch.arange(PATCHES) // (PATCHES // 3)
    return (3 * row[:, None] + row[None, :]).flatten()
