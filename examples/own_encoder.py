"""An encoder of one's own in front of the miniature LLaMA: patches of raw pixels, without any weights.

    mkdir patches && echo '{"model_type": "raw_patches", "patch": 8}' > patches/config.json
    python examples/own_encoder.py patches llava --output runs/raw

Once registered, ``Backbone.from_pretrained`` and ``--backbone.image`` load it by its ``model_type``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from inlay.adapters import Backbone
from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.encoders import register_encoder, squares
from inlay.adapters.media.image import Geometry
from inlay.hub.format.manifest import PortSpec
from inlay.recipes.commands.train.command import main
from inlay.recipes.settings.default_models import miniature_path


class RawPatches(nn.Module):
    """Implements ``inlay.adapters.encoders.ImageEncoder``."""

    family, device, dtype = "raw_patches", torch.device("cpu"), torch.float32

    def __init__(self, patch: int, source: str) -> None:
        super().__init__()
        self.patch, self.tokens, self.width = patch, (48 // patch) ** 2, 3 * patch**2
        sizes: dict[str, Any] = {"tokens": self.tokens, "width": self.width, "weights": weights_digest(self)}
        self.port = PortSpec(kind="encoder", family=self.family, source=source, **sizes)

    @classmethod
    def from_pretrained(cls, source: str | Path, *, name: str, **_: object) -> RawPatches:
        """Read the folder; the loader also passes ``dtype``, ``revision`` and ``local_files_only``."""
        return cls(json.loads(Path(source, "config.json").read_text())["patch"], name)

    def preprocess(self, images: Sequence[Image.Image], geometry: Geometry) -> Tensor:
        """``n`` images -> ``[n, 3, 48, 48]``."""
        return squares(images, 48, geometry, (127, 127, 127))

    def encode(self, pixels: Tensor) -> Tensor:
        """``[n, 3, 48, 48]`` -> ``[n, tokens, width]``."""
        return nn.functional.unfold(pixels - 0.5, self.patch, stride=self.patch).transpose(1, 2)


register_encoder("raw_patches", RawPatches, modality="image")

if __name__ == "__main__":
    own = Backbone.from_pretrained(miniature_path("inlay-miniature/llama"), sys.argv[1])
    sys.exit(main(sys.argv[2:], backbone=own))
