"""An encoder: patches of raw pixels, without any weights.

    mkdir patches && echo '{"model_type": "raw_patches", "patch": 8}' > patches/config.json
    inlay train llava --import own_encoder.py --backbone.image patches --backbone.llm inlay-miniature/llama ...

A backbone finds it by the ``model_type`` of the folder's ``config.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from inlay.adapters import PortSpec, register_encoder
from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.encoders import squares
from inlay.adapters.media.geometry import Geometry


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
