"""The base class of frozen vision transformers: images -> features of one explicitly chosen layer.

``layer`` indexes the model's ``hidden_states`` (0 = patch embeddings, -1 = last block, -2 = second to last), or is
``"last"`` for the model's own ``last_hidden_state`` (after its final norm, if it has one). ``class_token`` decides
whether the first token is a feature. The number of tokens is measured with one forward pass and not computed from the
patch size, which is wrong for models with register tokens or without a class token.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, TypeAlias

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from inlay.adapters.encoders.frozen import FrozenEncoder, Layer, states_of
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.geometry import Colour, HalfPixel
from inlay.adapters.media.image import Geometry, fit

__all__ = ["ClassToken", "VisionEncoder", "squares"]

ClassToken: TypeAlias = Literal["drop", "keep", "none"]


def squares(
    images: Sequence[Image.Image], size: int, geometry: Geometry, fill: Colour, half_pixel: HalfPixel = "down"
) -> Tensor:
    """RGB images of any size -> square tensors.

    Args:
        images: ``n`` RGB images.
        size: side of the square, in pixels.
        geometry: how an image becomes a square, see :mod:`inlay.adapters.media.geometry`.
        fill: colour of the padding, RGB in 0..255.
        half_pixel: how the corner of a cropped centre is rounded.

    Returns:
        ``[n, 3, size, size]`` float32, 0..1.

    Example:
        >>> squares([Image.new("RGB", (5, 3), (255, 0, 51))], 2, "squash", (0, 0, 0))[0, :, 0, 0].tolist()
        [1.0, 0.0, 0.20000000298023224]
    """
    rows = [
        torch.frombuffer(bytearray(fit(image, size, geometry, fill, half_pixel).tobytes()), dtype=torch.uint8)
        for image in images
    ]
    if not rows:
        return torch.zeros(0, 3, size, size)
    return torch.stack(rows).view(-1, size, size, 3).permute(0, 3, 1, 2).contiguous().float() / 255


class VisionEncoder(FrozenEncoder):
    """A frozen vision transformer of transformers.

    Args:
        model: a vision model whose output has ``hidden_states`` and ``last_hidden_state``, e.g. ``CLIPVisionModel``.
        processor: its image processor, for mean and standard deviation.
        layer: index of the hidden states that are the features, or ``"last"``.
        class_token: ``"keep"`` or ``"drop"`` the first token, or ``"none"`` for a model without one.
        image_size: side of the square in pixels; that of the config if not given.
        source: the Hub id, or another name from which the same weights can be loaded.
        revision: the commit on the Hub, 40 hex digits.
    """

    modality: Literal["image"] = "image"

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        *,
        layer: Layer,
        class_token: ClassToken,
        image_size: int | None = None,
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        self.model = freeze(model)
        self.layer = layer
        self.class_token: ClassToken = class_token
        self.source, self.revision = source, revision
        self.family: str = model.config.model_type
        self.image_size: int = int(image_size or model.config.image_size)
        self.mean: list[float] = [float(value) for value in processor.image_mean]
        self.deviation: list[float] = [float(value) for value in processor.image_std]

    @property
    def fill(self) -> tuple[int, int, int]:
        """The mean colour in 0..255, with which LLaVA pads an image to a square."""
        red, green, blue = (int(255 * value) for value in self.mean)
        return red, green, blue

    def preprocess(self, images: Sequence[Image.Image], geometry: Geometry) -> Tensor:
        """Resize to a square, scale to 0..1 and normalise.

        Args:
            images: ``n`` RGB images of any size.
            geometry: how an image becomes a square, see :mod:`inlay.adapters.media.geometry`.

        Returns:
            ``[n, 3, size, size]`` float32.
        """
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.deviation))
        return (squares(images, self.image_size, geometry, self.fill) - mean) / deviation

    def encode(self, pixels: Tensor) -> Tensor:
        """Frozen features: ``[n, 3, size, size]`` -> ``[n, tokens, width]`` in the model's dtype."""
        # Reshapes with -1 inside the models fail for an empty batch.
        if not len(pixels):
            return torch.zeros(0, self.tokens, self.width, device=self.device, dtype=self.dtype)
        with torch.no_grad():
            states = self._states(pixels.to(device=self.device, dtype=self.dtype))
        return self._chosen(states)

    def _chosen(self, states: Tensor) -> Tensor:
        """The tokens that are features."""
        return states[:, 1:] if self.class_token == "drop" else states

    def _states(self, pixels: Tensor) -> Tensor:
        """Hidden states of the chosen layer with the class token: ``[n, tokens, width]``."""
        return states_of(self.model, pixels, self.layer)

    @cached_property
    def _probe(self) -> tuple[int, int]:
        features = self.encode(torch.zeros(1, 3, self.image_size, self.image_size))
        return int(features.shape[1]), int(features.shape[2])

    @property
    def tokens(self) -> int:
        """Features per image, measured with one forward pass."""
        return self._probe[0]

    @property
    def width(self) -> int:
        """Values per feature, measured with one forward pass."""
        return self._probe[1]

    @property
    def settings(self) -> dict[str, Any]:
        """Further values that an adapter compares."""
        return {"layer": self.layer, "class_token": self.class_token, "image_size": self.image_size}
