"""A vision encoder followed by BLIP-2's frozen Q-Former: 32 features of 768 values.

MiniGPT-4 (Zhu et al., 2023, https://arxiv.org/abs/2304.10592) trains one linear layer on top of a Q-Former that BLIP-2
has trained, with its ``ln_vision`` and query tokens. Everything frozen belongs to the backbone, so the Q-Former is part
of the encoder, and the bundle holds only the linear layer. MiniGPT-4 uses the Q-Former of the checkpoint with
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
    """A vision encoder followed by a frozen Q-Former.

    Args:
        encoder: EVA, with the layer and the class token that the Q-Former was trained on.
        qformer: ``ln_vision``, query tokens and transformer: of a BLIP-2 model (:meth:`QFormer.from_blip2`), or the
            ``qformer`` of a trained :class:`QFormerProjector`. It is frozen in place.

    Raises:
        EncoderError: the Q-Former takes features of another width.
    """

    modality: Literal["image"] = "image"

    def __init__(self, encoder: VisionEncoder, qformer: QFormer) -> None:
        super().__init__()
        (reads,) = qformer.ln_vision.normalized_shape
        if reads != encoder.width:
            raise EncoderError(
                f"this Q-Former takes features of {reads} values, the encoder gives {encoder.width}; choose the "
                "encoder with which the Q-Former was trained"
            )
        self.encoder = encoder
        self.qformer = freeze(qformer)
        self.family = QFORMER_FAMILY

    def preprocess(self, images: Sequence[Image.Image], geometry: Geometry) -> Tensor:
        """As the vision encoder: ``n`` RGB images -> ``[n, 3, size, size]`` float32."""
        return self.encoder.preprocess(images, geometry)

    def encode(self, pixels: Tensor) -> Tensor:
        """Frozen features: ``[n, 3, size, size]`` -> ``[n, queries, hidden]`` in the Q-Former's dtype."""
        features = self.encoder.encode(pixels).to(self.dtype)
        with torch.no_grad():
            states: Tensor = self.qformer(features)
        return states

    @property
    def device(self) -> torch.device:
        """The device of both models."""
        return self.encoder.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the Q-Former: float32 in transformers, also with a vision tower in half precision."""
        return self.qformer.query_tokens.dtype

    @property
    def tokens(self) -> int:
        """Features per image: the query tokens."""
        return self.qformer.query_tokens.shape[1]

    @property
    def width(self) -> int:
        """Values per feature."""
        return self.qformer.query_tokens.shape[2]

    @cached_property
    def port(self) -> PortSpec:
        """The port of the vision encoder, with the digest of both models."""
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
