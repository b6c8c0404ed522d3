"""The plain vision transformer (Dosovitskiy et al., 2020, https://arxiv.org/abs/2010.11929).

Default: the model's own last hidden state, after its final norm, without the class token.
"""

from __future__ import annotations

from typing import Any

from transformers import ViTModel

from inlay.adapters.encoders.frozen import Layer
from inlay.adapters.encoders.image.vision import ClassToken, VisionEncoder
from inlay.adapters.encoders.registry import register_encoder

__all__ = ["VitEncoder"]


class VitEncoder(VisionEncoder):
    """A ``ViTModel``; the arguments are those of :class:`VisionEncoder`."""

    def __init__(
        self,
        model: ViTModel,
        processor: Any,
        *,
        layer: Layer = "last",
        class_token: ClassToken = "drop",
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__(model, processor, layer=layer, class_token=class_token, source=source, revision=revision)


register_encoder("vit", VitEncoder, modality="image", model_class=ViTModel)
