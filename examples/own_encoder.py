"""An encoder of one's own in front of the miniature LLaMA: patches of raw pixels, no weights at all.

    python examples/own_encoder.py llava --output runs/raw

An encoder is an ``nn.Module`` with what ``inlay.adapters.encoders.ImageEncoder`` lists; its port is what an adapter
remembers of it. Afterwards: ``Adapter.from_pretrained("runs/raw").attach(backbone()).chat(...)``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor, nn

from inlay.adapters import Backbone
from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.encoders import squares
from inlay.adapters.media.image import Geometry
from inlay.hub.format.manifest import PortSpec
from inlay.recipes.backbones import miniature_backbone
from inlay.recipes.train_command import main

SIZE, PATCH, GREY = 48, 8, (127, 127, 127)


class RawPatches(nn.Module):
    """36 patches of 192 values."""

    family, tokens, width = "raw_patches", (SIZE // PATCH) ** 2, 3 * PATCH**2
    device, dtype = torch.device("cpu"), torch.float32

    @property
    def port(self) -> PortSpec:
        """What an adapter has to know of it."""
        sizes = {"kind": "encoder", "family": self.family, "tokens": self.tokens, "width": self.width}
        return PortSpec.model_validate(sizes | {"weights": weights_digest(self), "settings": {"image_size": SIZE}})

    def preprocess(self, images: Sequence[Image.Image], geometry: Geometry) -> Tensor:
        """RGB pictures to ``[n, 3, 48, 48]``."""
        return squares(images, SIZE, geometry, GREY)

    def encode(self, pixels: Tensor) -> Tensor:
        """``[n, 3, 48, 48]`` -> ``[n, 36, 192]``."""
        return nn.functional.unfold(pixels - 0.5, PATCH, stride=PATCH).transpose(1, 2)


def backbone() -> Backbone:
    """The miniature LLaMA behind it."""
    return Backbone(miniature_backbone().llm, {"image": RawPatches()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], backbone=backbone()))
