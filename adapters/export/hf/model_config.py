"""``config.json`` of the merged model, and its tensors under the names of transformers up to 4.51."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
)

from inlay.adapters.convert.formats.hf_blip import BLIP2_KEYS, INSTRUCTBLIP_KEYS
from inlay.adapters.convert.formats.hf_llava import KEYS
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.export.hf.expressible import Kind, feature_layer
from inlay.adapters.export.merged import LazyTensors
from inlay.adapters.export.request import Request
from inlay.adapters.media.tiling.anyres import AnyRes

__all__ = ["CLASSES", "KEY_TABLES", "model_config", "own_tensors", "pinpoints", "strategy"]

CLASSES: dict[Kind, tuple[Any, Any]] = {
    "llava": (LlavaConfig, LlavaForConditionalGeneration),
    "llava_next": (LlavaNextConfig, LlavaNextForConditionalGeneration),
    "blip2": (Blip2Config, Blip2ForConditionalGeneration),
    "instructblip": (InstructBlipConfig, InstructBlipForConditionalGeneration),
}
"""Class of the config, class of the model."""
KEY_TABLES: dict[Kind, KeyTable] = {
    "llava": KEYS,
    "llava_next": KEYS,
    "blip2": BLIP2_KEYS,
    "instructblip": INSTRUCTBLIP_KEYS,
}
"""Those of the importers, in the other direction."""


def model_config(request: Request, kind: Kind, *, image_id: int, vocabulary: int, tied: bool) -> dict[str, Any]:
    """The content of ``config.json``.

    Args:
        request: the export.
        kind: class of the model.
        image_id: id of ``<image>``.
        vocabulary: rows of embedding and head.
        tied: whether the head is the embedding.
    """
    config, model = CLASSES[kind]
    llm, encoder = request.backbone.llm, request.backbone.encoder("image")
    text = {**_plain(llm.model.config), "vocab_size": vocabulary, "tie_word_embeddings": tied}
    vision = _plain(_model(request).config)
    projector: Any = request.adapter.projector("image").config
    if kind in ("blip2", "instructblip"):
        for name in ("model_type", "architectures"):
            vision.pop(name, None)  # a tower of the other of the two classes has the same sizes
        former = {**projector.transformer, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}
        if kind == "instructblip":
            former |= {"vocab_size": projector.vocabulary, "max_position_embeddings": projector.text_positions}
        fields: dict[str, Any] = {"qformer_config": former, "num_query_tokens": projector.queries}
    else:
        fields = {
            "projector_hidden_act": "gelu",
            "multimodal_projector_bias": True,
            "vision_feature_layer": feature_layer(encoder, request.adapter),  # type: ignore[arg-type]  # it was checked to be one
            "vision_feature_select_strategy": strategy(request),
            "image_seq_length": encoder.tokens,
        }
    if kind == "llava_next":
        fields["image_grid_pinpoints"] = pinpoints(request)
    built = config(
        text_config=text, vision_config=vision, image_token_index=image_id, tie_word_embeddings=tied, **fields
    )
    dtype = str(llm.dtype).removeprefix("torch.")
    written: dict[str, Any] = built.to_dict()
    # Older versions, and programs that follow them, read torch_dtype and image_token_index.
    return written | {
        "architectures": [model.__name__],
        "image_token_index": image_id,
        "tie_word_embeddings": tied,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def own_tensors(request: Request, language: Mapping[str, Tensor]) -> LazyTensors:
    """All tensors of the merged model under our names, in the data type of the language model.

    Args:
        request: the export.
        language: of :func:`~inlay.adapters.export.merged.language_tensors`.
    """
    dtype = request.backbone.llm.dtype
    makers: dict[str, Callable[[], Tensor]] = {
        f"backbone.llm.{name}": partial(_entry, language, name, dtype) for name in language
    }
    tower = _model(request).state_dict()
    for name in tower:
        bare = name.removeprefix("vision_model.")
        makers[f"backbone.image.{bare}"] = partial(_entry, tower, name, dtype)
    for part in request.adapter.parts():
        if not part.name.startswith("inputs."):
            continue
        held = part.module.state_dict()
        for key in held:
            makers[f"{part.name}.{key}"] = partial(_entry, held, key, dtype)
    # BLIP-2's norm behind the tower is trained: it is the adapter's, not the encoder's.
    if any("ln_vision" in name for name in makers):
        makers = {name: made for name, made in makers.items() if not name.startswith("backbone.image.post_layernorm.")}
    return LazyTensors(makers)


def strategy(request: Request) -> str:
    """``default`` drops the first feature, ``full`` keeps all."""
    return "default" if getattr(request.backbone.encoder("image"), "class_token", "none") == "drop" else "full"


def pinpoints(request: Request) -> list[list[int]]:
    """Sizes of the canvases of ``anyres`` in pixels: height, width."""
    rule: Any = request.adapter.layout.tiling_for("image")
    encoder: Any = request.backbone.encoder("image")
    side = encoder.image_size
    canvases = rule.canvases if isinstance(rule, AnyRes) else ()
    return [[rows * side, columns * side] for rows, columns in canvases]


def _model(request: Request) -> Any:
    """The tower of transformers inside of the encoder."""
    encoder: Any = request.backbone.encoder("image")
    return encoder.model


def _plain(config: Any) -> dict[str, Any]:
    """A config without the name of the folder that it came from."""
    held: dict[str, Any] = config.to_dict()
    return {name: value for name, value in held.items() if name not in ("_name_or_path", "transformers_version")}


def _entry(tensors: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> Tensor:
    tensor = tensors[name]
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
