"""CLIP's vision tower (Radford et al., 2021, https://arxiv.org/abs/2103.00020), as LLaVA uses it.

LLaVA takes the second-to-last layer and drops the class token: ViT-L/14 gives 256 tokens of 1024 at 224 px and 576 at
336 px. BLIP-2 with CLIP takes the same layer and keeps the class token.
"""

from __future__ import annotations

from typing import Any

from transformers import CLIPModel, CLIPVisionModel, CLIPVisionModelWithProjection

from inlay.adapters.encoders.frozen import Layer
from inlay.adapters.encoders.image.vision import ClassToken, VisionEncoder
from inlay.adapters.encoders.registry import register_encoder

__all__ = ["ClipEncoder"]


class ClipEncoder(VisionEncoder):
    """The vision tower of a CLIP model.

    Args:
        model: a ``CLIPVisionModel``, or a model that contains one (``CLIPModel``).
        processor: a CLIP image processor.
        layer: see :class:`VisionEncoder`; LLaVA's choice by default.
        class_token: see :class:`VisionEncoder`; LLaVA's choice by default.
        source: see :class:`VisionEncoder`.
        revision: see :class:`VisionEncoder`.
    """

    def __init__(
        self,
        model: CLIPVisionModel | CLIPModel | CLIPVisionModelWithProjection,
        processor: Any,
        *,
        layer: Layer = -2,
        class_token: ClassToken = "drop",
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        tower = model if isinstance(model, CLIPVisionModel) else model.vision_model
        super().__init__(tower, processor, layer=layer, class_token=class_token, source=source, revision=revision)


register_encoder("clip", ClipEncoder, modality="image", model_class=CLIPVisionModel)
register_encoder("clip_vision_model", ClipEncoder, modality="image", model_class=CLIPVisionModel)
