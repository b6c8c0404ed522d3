"""EVA-CLIP's ViT-g as BLIP-2 uses it (Sun et al., 2023, https://arxiv.org/abs/2303.15389).

BLIP-2 takes the input of the 40th block, so the model has 39 blocks; the class token is kept, and no norm follows: 257
features of 1408 values at 224 px, from an image that is resized to a square without regard to its aspect ratio. The
LayerNorm that transformers stores in this model as ``post_layernorm`` is BLIP-2's ``ln_vision``. It is trained, so each
adapter has its own, as part of the Q-Former. This encoder neither applies it nor includes it in its digest; thus the
vision towers of all BLIP-2 and InstructBLIP checkpoints are the same backbone.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import Blip2VisionModel, InstructBlipVisionModel

from inlay.adapters.encoders.frozen import Layer
from inlay.adapters.encoders.image.vision import ClassToken, VisionEncoder
from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.encoders.registry import register_encoder

__all__ = ["EvaEncoder"]


class EvaEncoder(VisionEncoder):
    """A ``Blip2VisionModel`` or ``InstructBlipVisionModel``.

    Args:
        model: one of the two, or a model with one as ``vision_model``, such as a ``Blip2Model``.
        processor: a BLIP or CLIP image processor.
        layer: by default the output of the last block without a norm; ``"last"`` is after ``post_layernorm``.
        class_token: see :class:`VisionEncoder`; BLIP-2's choice by default.
        source: see :class:`VisionEncoder`.
        revision: see :class:`VisionEncoder`.

    Raises:
        EncoderError: another model class.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        layer: Layer = -1,
        class_token: ClassToken = "keep",
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        tower = getattr(model, "vision_model", model)
        if not isinstance(tower, Blip2VisionModel | InstructBlipVisionModel):
            raise EncoderError(
                f"expected a Blip2VisionModel, an InstructBlipVisionModel or a model with one, got "
                f"{type(model).__name__}; for timm's EVA use inlay.adapters.encoders.eva_from_timm"
            )
        super().__init__(tower, processor, layer=layer, class_token=class_token, source=source, revision=revision)
        # The two classes of transformers are one architecture.
        self.family = "eva"

    @property
    def tower(self) -> Any:
        """The model, untyped: transformers declares no types for its submodules."""
        return self.model

    @property
    def trunk(self) -> nn.Module:
        """Embeddings and blocks; ``post_layernorm`` only if it is applied."""
        return self.model if self.layer == "last" else nn.ModuleList([self.tower.embeddings, self.tower.encoder])

    def _states(self, pixels: Tensor) -> Tensor:
        if self.layer != -1:
            return super()._states(pixels)
        # The same as hidden_states[-1], without keeping the hidden states of all other layers.
        states: Tensor = self.tower.encoder(inputs_embeds=self.tower.embeddings(pixels)).last_hidden_state
        return states


_TOWER_OF_A_WHOLE_MODEL = {r"^vision_model\.": ""}

register_encoder("blip_2_vision_model", EvaEncoder, modality="image", model_class=Blip2VisionModel)
register_encoder(
    "blip-2", EvaEncoder, modality="image", model_class=Blip2VisionModel, key_mapping=_TOWER_OF_A_WHOLE_MODEL
)
register_encoder("instructblip_vision_model", EvaEncoder, modality="image", model_class=InstructBlipVisionModel)
register_encoder(
    "instructblip",
    EvaEncoder,
    modality="image",
    model_class=InstructBlipVisionModel,
    key_mapping=_TOWER_OF_A_WHOLE_MODEL,
)
