"""EVA with BLIP-2's frozen Q-Former behind it: an encoder that gives 32 features of 768.

MiniGPT-4 (Zhu et al., 2023, https://arxiv.org/abs/2304.10592) trains one linear layer on top of a Q-Former that BLIP-2
trained, ``ln_vision`` and query tokens included. What does not train belongs to the backbone: so the Q-Former counts as
part of the encoder here, and the bundle holds the linear layer alone. MiniGPT-4's comes from the checkpoint with
Flan-T5-XXL.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
from PIL import Image
from torch import Tensor, nn

from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.encoders.image.vision import VisionEncoder
from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.inputs.qformer import QFormer
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.image import Geometry
from inlay.hub.format.manifest import PortSpec

__all__ = ["QFORMER_FAMILY", "QFormerEncoder"]

QFORMER_FAMILY = "qformer"
"""Family of the port."""


class QFormerEncoder(nn.Module):
    """A vision encoder and the frozen Q-Former that reads it.

    Args:
        encoder: EVA, with the layer and the class token that the Q-Former was trained on.
        qformer: ``ln_vision``, queries and transformer: of a BLIP-2 model (:meth:`QFormer.from_blip2`), or the
            ``qformer`` of a projector that was trained here. It is frozen in place.

    Raises:
        EncoderError: the Q-Former reads features of another width.
    """

    modality: Literal["image"] = "image"

    def __init__(self, encoder: VisionEncoder, qformer: QFormer) -> None:
        super().__init__()
        (reads,) = qformer.ln_vision.normalized_shape
        if reads != encoder.width:
            raise EncoderError(
                f"this Q-Former reads features of {reads} values, the encoder gives {encoder.width}; it was trained on "
                "another one"
            )
        self.encoder = encoder
        self.qformer = freeze(qformer)
        self.family = QFORMER_FAMILY

    def preprocess(self, images: Sequence[Image.Image], geometry: Geometry) -> Tensor:
        """As the vision encoder does it: ``n`` RGB pictures -> ``[n, 3, size, size]`` float32."""
        return self.encoder.preprocess(images, geometry)

    def encode(self, pixels: Tensor) -> Tensor:
        """Frozen features: ``[n, 3, size, size]`` -> ``[n, queries, hidden]`` in the Q-Former's dtype."""
        features = self.encoder.encode(pixels).to(self.dtype)
        with torch.no_grad():
            states: Tensor = self.qformer(features)
        return states

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return self.encoder.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the Q-Former, which transformers keeps in float32 whatever EVA has."""
        return self.qformer.query_tokens.dtype

    @property
    def tokens(self) -> int:
        """Features per picture: the queries."""
        return self.qformer.query_tokens.shape[1]

    @property
    def width(self) -> int:
        """Values per feature."""
        return self.qformer.query_tokens.shape[2]

    @cached_property
    def port(self) -> PortSpec:
        """What an adapter has to know: the vision encoder's settings, and the weights of both."""
        inner = self.encoder.port
        return inner.model_copy(
            update={
                "family": self.family,
                "width": self.width,
                "tokens": self.tokens,
                "weights": weights_digest(nn.ModuleList([self.encoder.trunk, self.qformer])),
                "settings": {**inner.settings, "norm_eps": self.qformer.ln_vision.eps},
            }
        )
