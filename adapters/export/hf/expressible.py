"""Which class of transformers an adapter can become, or the reason why none can express it."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.conversation.segments import HOLE
from inlay.adapters.encoders.image.clip import ClipEncoder
from inlay.adapters.encoders.image.eva import EvaEncoder
from inlay.adapters.encoders.image.vision import VisionEncoder
from inlay.adapters.export.request import Request
from inlay.adapters.export.target import ExportError

__all__ = ["Kind", "adapter_kind", "feature_layer", "kind_of"]

Kind: TypeAlias = Literal["llava", "llava_next", "blip2", "instructblip"]

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "llava": ("vicuna_v1", "plain", "chat"),
    "llava_next": ("vicuna_v1", "plain", "chat"),
    "blip2": ("blip2",),
    "instructblip": ("instructblip",),
}
"""Class -> templates that its processor can lay out."""
_KINDS: dict[str, Kind] = {"mlp": "llava", "qformer": "blip2", "instruct_qformer": "instructblip"}


def kind_of(request: Request) -> Kind:
    """The class of an adapter on its backbone.

    Raises:
        ExportError: with the reason why the classes of transformers cannot express the two.
    """
    kind = adapter_kind(request.adapter)
    _check_bos(request, kind)
    _check_language(request, kind)
    _check_encoder(request, kind)
    return kind


def adapter_kind(adapter: Adapter) -> Kind:
    """The class of an adapter, for any backbone.

    Raises:
        ExportError: with the reason why the classes of transformers cannot express the adapter.
    """
    if outputs := sorted(adapter.outputs):
        made = ", ".join(outputs)
        raise ExportError(f"the adapter generates {made}, and no class of transformers does; {_route(adapter)}")
    if sorted(adapter.inputs) != ["image"]:
        read = ", ".join(sorted(adapter.inputs)) or "text only"
        raise ExportError(
            f"expected an adapter that reads pictures alone, got one that reads {read}; transformers' Llava, Blip2 and "
            f"InstructBlip have one vision tower; {_route(adapter)}"
        )
    projector = adapter.projector("image")
    kind = _KINDS.get(projector.kind)
    if kind is None or (kind == "llava" and projector.config.depth != 2):
        depth = f" of {projector.config.depth} layers" if projector.kind == "mlp" else ""
        reason = (
            "the projector of transformers' Llava is two linear layers with a GELU between, and a GELU cannot be left "
            "out"
            if projector.kind in ("linear", "mlp")
            else "transformers' Llava has an MLP of two layers, Blip2 and InstructBlip a Q-Former"
        )
        raise ExportError(f"projector {projector.kind!r}{depth}: {reason}; {_route(adapter)}")
    if (tiling := adapter.layout.tiling_for("image")) is not None:
        if kind != "llava" or tiling.name != "anyres":
            raise ExportError(
                f"tiling {tiling.text}: transformers' LlavaNext tiles by 'anyres' with an MLP only; {_route(adapter)}"
            )
        kind = "llava_next"
    if adapter.layout.template not in _TEMPLATES[kind]:
        raise ExportError(
            f"template {adapter.layout.template!r}: the processor of {kind} can lay out "
            f"{', '.join(_TEMPLATES[kind])}; {_route(adapter)}"
        )
    if adapter.layout.prompt.count(HOLE) != 1:
        raise ExportError(
            f"prompt {adapter.layout.prompt!r}: expected a text with one {HOLE} for the user's words, around which a "
            "chat template can write"
        )
    return kind


def feature_layer(encoder: VisionEncoder, adapter: Adapter) -> int:
    """The index of the hidden states that are the features.

    Args:
        encoder: of pictures.
        adapter: for the advice in the error.

    Raises:
        ExportError: the features are behind the tower's final norm.
    """
    if encoder.layer != "last":
        return int(encoder.layer)
    size = encoder.image_size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 3, size, size, generator=generator).to(encoder.device, encoder.dtype)
    with torch.no_grad():
        found: Any = encoder.model(pixels, output_hidden_states=True)
    if torch.equal(found.hidden_states[-1], found.last_hidden_state):
        return -1
    raise ExportError(
        "the features are the tower's output behind its final norm, and transformers' Llava reads hidden states, "
        f"which are before it; train with --backbone.layer -1 or -2 instead; {_route(adapter)}"
    )


def _route(adapter: Adapter) -> str:
    """Advice for an adapter that cannot be exported."""
    alone = ", or export its LoRA alone: --to peft" if adapter.lora is not None and adapter.tokens is None else ""
    return f"use the adapter with inlay (`inlay serve`){alone}"


def _check_bos(request: Request, kind: Kind) -> None:
    adapter, layout = request.adapter, request.adapter.layout
    published = "after_media" if kind in ("blip2", "instructblip") else "first"
    begins = request.backbone.llm.bos_id is not None
    if begins and layout.bos != published:
        raise ExportError(
            f"bos {layout.bos!r}: the processor of {kind} puts BOS {published.replace('_', ' ')} and nowhere else; "
            f"{_route(adapter)}"
        )


def _check_language(request: Request, kind: Kind) -> None:
    llm: Any = request.backbone.llm.model
    adapter = request.adapter
    if kind in ("llava", "llava_next"):
        if llm.config.is_encoder_decoder:
            raise ExportError(f"{request.backbone.llm.family!r} is an encoder-decoder, and {kind} takes decoders only")
        names = {name.partition(".")[0] for name in llm.state_dict()}
        if not names <= {"model", "lm_head"} or getattr(llm.get_output_embeddings(), "bias", None) is not None:
            raise ExportError(
                f"{request.backbone.llm.family!r}: expected a language model of the parts model and lm_head, the head "
                f"without a bias, as {kind} has them, got {', '.join(sorted(names))}; {_route(adapter)}"
            )


def _check_encoder(request: Request, kind: Kind) -> None:
    adapter, encoder = request.adapter, request.backbone.encoder("image")
    family = encoder.family
    if kind in ("blip2", "instructblip"):
        if not isinstance(encoder, EvaEncoder) or (encoder.layer, encoder.class_token) != (-1, "keep"):
            raise ExportError(
                f"encoder {family!r}: {kind} has BLIP-2's ViT with its class token, the last layer before the norm; "
                f"{_route(adapter)}"
            )
        return
    if not isinstance(encoder, VisionEncoder) or not (
        isinstance(encoder, ClipEncoder) or family == "siglip_vision_model"
    ):
        raise ExportError(
            f"encoder {family!r}: expected one CLIP or SigLIP tower, which vLLM, SGLang and MLX load inside of {kind}; "
            f"{_route(adapter)}"
        )
    config: Any = encoder.model.config
    if encoder.image_size != config.image_size:
        raise ExportError(
            f"the encoder reads squares of {encoder.image_size} pixels, and the tower was made for {config.image_size};"
            f" {kind} has no such setting"
        )
    feature_layer(encoder, adapter)
