"""A generator: a picture of one colour, the mean of the colours that a text names.

    mkdir palette && echo '{"model_type": "palette", "side": 48}' > palette/config.json
    inlay train nextgpt --import own_generator.py --backbone.generate_image palette

Its conditioning is one vector: red, green and blue from 0 to 1. An output projector learns to predict it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageColor
from torch import Tensor, nn

from inlay.adapters import PortSpec, register_generator
from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.generators.protocol import Made
from inlay.adapters.media.modality import Modality


class Palette(nn.Module):
    """Implements ``inlay.adapters.Generator``: a frozen module from conditioning to media."""

    modality: Modality = "image"
    tokens, width, device, dtype = 1, 3, torch.device("cpu"), torch.float32

    def __init__(self, side: int, source: str) -> None:
        super().__init__()
        self.side = side
        weights = weights_digest(self)
        self.port = PortSpec(kind="generator", family="palette", source=source, tokens=1, width=3, weights=weights)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> conditioning ``[n, 1, 3]``; grey where no colour is named."""
        named = [[word for word in text.lower().split() if word in ImageColor.colormap] or ["gray"] for text in texts]
        colours = [torch.tensor([ImageColor.getrgb(word)[:3] for word in words]) for words in named]
        return torch.stack([own.float().mean(dim=0, keepdim=True) / 255 for own in colours])

    def generate(self, conditioning: Tensor, **_: Any) -> list[Made]:
        """``[n, 1, 3]`` -> pictures; steps, guidance, seed and size do not matter here."""
        colours = (conditioning[:, 0].clamp(0, 1) * 255).round().int().tolist()
        return [Image.new("RGB", (self.side, self.side), tuple(colour)) for colour in colours]

    def diffusion_loss(self, conditioning: Tensor, latents: Tensor, **_: Any) -> Tensor:
        """Distance of the conditioning from the colours ``[n, 3]`` of pictures."""
        return (conditioning[:, 0] - latents).square().mean()


def load(source: str, *, name: str | None, **_: Any) -> Palette:
    """Read the folder; dtype, revision and the like do not matter here."""
    return Palette(json.loads(Path(source, "config.json").read_text())["side"], name or source)


register_generator("palette", load)
