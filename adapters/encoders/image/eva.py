"""EVA-CLIP's ViT-g as BLIP-2 uses it (Sun et al., 2023, https://arxiv.org/abs/2303.15389).

BLIP-2 takes the input of the 40th block, so 39 are built; the class token is kept, and no norm follows: 257 features of
1408 at 224 px, of a picture that is squashed to a square. The LayerNorm that transformers keeps in this model as
``post_layernorm`` is BLIP-2's ``ln_vision``: it trains, every adapter has its own, and it is part of the Q-Former here.
So this encoder neither computes it nor counts it in its digest, and the towers of all BLIP-2 and InstructBLIP
checkpoints are one and the same backbone.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import Blip2VisionModel, InstructBlipVisionModel

from inlay.adapters.encoders.image.vision import ClassToken, Layer, VisionEncoder
from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.encoders.registry import register_encoder

__all__ = ["EvaEncoder"]


class EvaEncoder(VisionEncoder):
    """A ``Blip2VisionModel`` or ``InstructBlipVisionModel``.

    Args:
        model: one of the two, or a model that contains one, such as a ``Blip2Model``.
        processor: a BLIP or CLIP image processor.
        layer: the last block's output before any norm by default; ``"last"`` is after the model's ``post_layernorm``.
        class_token: BLIP-2's rule by default.
        source: see :class:`VisionEncoder`.
        revision: see :class:`VisionEncoder`.

    Raises:
        EncoderError: another kind of model.
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
                f"{type(model).__name__}; timm's EVA comes in by inlay.adapters.encoders.image.eva_timm"
            )
        super().__init__(tower, processor, layer=layer, class_token=class_token, source=source, revision=revision)
        # The two classes of transformers are one architecture.
        self.family = "eva"

    @property
    def tower(self) -> Any:
        """The model; transformers gives its parts no types."""
        return self.model

    @property
    def trunk(self) -> nn.Module:
        """Embeddings and blocks, and ``post_layernorm`` only where it is used."""
        return self.model if self.layer == "last" else nn.ModuleList([self.tower.embeddings, self.tower.encoder])

    def _states(self, pixels: Tensor) -> Tensor:
        if self.layer != -1:
            return super()._states(pixels)
        # The same as hidden_states[-1], without holding those of the 39 layers before it.
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
