"""An image encoder and its two-layer projector as a GGUF file, for llama.cpp's own programs (``--mmproj``).

Written for encoders without a class token (SigLIP). With one (CLIP), llama.cpp puts the class token behind the patches
and reads the rows as if it were in front, so that it computes other features from a correct file:
https://github.com/ggml-org/llama.cpp/issues/25814. Such a file is written only where the caller insists.

llama.cpp differs from torch in three ways, which ``EXPORT.json`` names: the patch convolution is float16, the GELU of
the projector is the approximation by tanh, and pictures are padded to a square in one colour.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from inlay.adapters.encoders.image.vision import VisionEncoder
from inlay.adapters.encoders.protocol import Encoder
from inlay.adapters.export.gguf.gguf_file import Entry, GgufContent, GgufError, as_array
from inlay.adapters.inputs import InputProjector
from inlay.adapters.inputs.mlp import MlpProjector

__all__ = ["CLIP_ISSUE", "DIFFERENCES", "has_class_token", "mmproj_content", "mmproj_problem"]

CLIP_ISSUE = "https://github.com/ggml-org/llama.cpp/issues/25814"
DIFFERENCES = (
    "the patch convolution is float16",
    "the GELU between the two layers of the projector is the approximation by tanh",
    "llama.cpp pads a picture to a square with the colour (122, 116, 104) and resizes it by its own filter",
)
"""Differences between llama.cpp and torch."""

_FAMILIES = ("clip_vision_model", "siglip_vision_model")
_ACTIVATIONS = {"quick_gelu": False, "gelu_pytorch_tanh": True}
"""Activation of the encoder -> ``clip.use_gelu``; llama.cpp has no exact GELU there."""
_IN_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "layer_norm1": "ln1",
    "layer_norm2": "ln2",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}
_OUTSIDE = {
    "embeddings.class_embedding": "v.class_embd",
    "embeddings.patch_embedding.weight": "v.patch_embd.weight",
    "embeddings.patch_embedding.bias": "v.patch_embd.bias",
    "embeddings.position_embedding.weight": "v.position_embd.weight",
    "pre_layrnorm.weight": "v.pre_ln.weight",
    "pre_layrnorm.bias": "v.pre_ln.bias",
}
_POST = ("post_layernorm.weight", "post_layernorm.bias")
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(\w+(?:\.\w+)?)\.(weight|bias)")


def mmproj_problem(encoder: Encoder, projector: InputProjector, *, tiled: bool = False) -> str | None:
    """Why an encoder and its projector cannot be a mmproj file at all; None if they can.

    Args:
        encoder: of pictures.
        projector: behind it.
        tiled: whether the layout cuts pictures into tiles.
    """
    family = getattr(encoder, "family", "")
    if not isinstance(encoder, VisionEncoder) or family not in _FAMILIES:
        return f"llama.cpp reads the encoders CLIP and SigLIP in this way, the adapter has {family or 'none'!r}"
    if not isinstance(projector, MlpProjector) or projector.config.depth != 2:
        kind = getattr(projector, "kind", type(projector).__name__)
        return (
            f"llama.cpp computes two linear layers with GELU between them (mlp of depth 2), the adapter has {kind!r}"
            + (f" of depth {projector.config.depth}" if isinstance(projector, MlpProjector) else "")
        )
    if tiled:
        return "the layout cuts pictures into tiles, and llama.cpp's tiles are others"
    if encoder.class_token == "keep":
        return "the class token is a feature of this adapter, and llama.cpp leaves it out"
    side, activation = encoder.model.config.image_size, encoder.model.config.hidden_act
    if activation not in _ACTIVATIONS:
        return f"llama.cpp computes the activations {', '.join(_ACTIVATIONS)}, this encoder has {activation!r}"
    if encoder.image_size != side:
        return f"pictures are {encoder.image_size} pixels wide and the position embeddings are for {side}"
    return None


def has_class_token(encoder: Encoder) -> bool:
    """Whether llama.cpp computes other features from the file (see the head of this page)."""
    return getattr(encoder, "family", "") == "clip_vision_model"


def mmproj_content(encoder: Any, projector: Any, *, unsafe_clip: bool = False) -> GgufContent:
    """The content of ``mmproj.gguf``.

    Args:
        encoder: of pictures.
        projector: behind it.
        unsafe_clip: write the file for an encoder with a class token, which llama.cpp reads wrongly.

    Raises:
        GgufError: an encoder or a projector that llama.cpp does not compute, or one with a class token.
    """
    if (problem := mmproj_problem(encoder, projector)) is not None:
        raise GgufError(f"mmproj: {problem}; serve with --runtime llamacpp, which takes every encoder and projector")
    if has_class_token(encoder) and not unsafe_clip:
        raise GgufError(
            "mmproj: llama.cpp computes wrong features for encoders with a class token (CLIP): it puts the token "
            f"behind the patches and reads the rows as if it were in front ({CLIP_ISSUE}). Serve with --runtime "
            "llamacpp, which is exact; --unsafe_clip writes the file nevertheless"
        )
    config: Any = encoder.model.config
    used = _used_layers(encoder.layer, int(config.num_hidden_layers))
    return GgufContent("clip", _header(encoder, projector, config, used), _tensors(encoder, projector, used))


def _used_layers(layer: int | str, count: int) -> int:
    """Blocks that the features have passed; ``last`` has the final norm too."""
    if isinstance(layer, str):
        return count
    used = layer if layer >= 0 else count + 1 + layer
    if not 1 <= used <= count:
        raise GgufError(f"mmproj: expected features of a block, got layer {layer} of {count} blocks")
    return used


def _header(encoder: VisionEncoder, projector: MlpProjector, config: Any, used: int) -> dict[str, Any]:
    vision = {
        "image_size": int(config.image_size),
        "patch_size": int(config.patch_size),
        "embedding_length": int(config.hidden_size),
        "feed_forward_length": int(config.intermediate_size),
        "projection_dim": int(projector.config.width_out),
        "block_count": used,
        "attention.head_count": int(config.num_attention_heads),
        "attention.layer_norm_epsilon": float(config.layer_norm_eps),
        "image_mean": [float(value) for value in encoder.mean],
        "image_std": [float(value) for value in encoder.deviation],
        # Without it llama.cpp leaves out the last block of the file.
        "feature_layer": [used],
    }
    return {
        "general.type": "mmproj",
        "general.name": encoder.source or "inlay",
        "general.file_type": 1,
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.use_gelu": _ACTIVATIONS[config.hidden_act],
    } | {f"clip.vision.{key}": value for key, value in vision.items()}


def _tensors(encoder: VisionEncoder, projector: MlpProjector, used: int) -> dict[str, Entry]:
    named: dict[str, Any] = {}
    for key, tensor in encoder.model.state_dict().items():
        inside = key.removeprefix("vision_model.")
        layer = _LAYER.fullmatch(inside)
        if inside in _OUTSIDE:
            named[_OUTSIDE[inside]] = tensor
        elif layer is not None and layer[2] in _IN_LAYER:
            if int(layer[1]) < used:
                named[f"v.blk.{layer[1]}.{_IN_LAYER[layer[2]]}.{layer[3]}"] = tensor
        elif inside in _POST:
            if encoder.layer == "last":
                named[f"v.post_ln.{inside.rpartition('.')[2]}"] = tensor
        elif not inside.startswith("head.") and inside != "embeddings.position_ids":  # SigLIP's pooling is not used
            raise GgufError(f"mmproj: {key}: this tensor of the encoder has no name in a GGUF file")
    for index, place in ((0, "mm.0"), (2, "mm.2")):
        for leaf in ("weight", "bias"):
            named[f"{place}.{leaf}"] = projector.layers[index].get_parameter(leaf)
    return {
        name: Entry(tuple(tensor.shape), "f16" if name == "v.patch_embd.weight" else "f32", partial(as_array, tensor))
        for name, tensor in named.items()
    }
