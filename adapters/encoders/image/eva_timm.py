"""EVA-CLIP's weights from timm (https://github.com/huggingface/pytorch-image-models), for ``inlay[timm]``.

timm's ``eva_giant_patch14_clip_224`` and transformers' ``Blip2VisionModel`` are the same architecture with different
tensor names. The weights are copied into the class of transformers, without the blocks that BLIP-2 does not use. The
result is the same encoder, with the same digest for the same weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import Blip2VisionConfig, Blip2VisionModel, CLIPImageProcessorPil

from inlay.adapters.encoders.image.eva import EvaEncoder
from inlay.adapters.encoders.protocol import EncoderError

__all__ = ["eva_from_timm", "tower_from_timm"]

_RENAMES = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj": "embeddings.patch_embedding",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


def eva_from_timm(
    model: Any = "eva_giant_patch14_clip_224.laion400m", *, blocks: int = 39, dtype: torch.dtype = torch.float32
) -> EvaEncoder:
    """The EVA encoder with timm's weights.

    Args:
        model: the name of a pretrained model of timm (EVA-CLIP's other weights are ``merged2b`` instead of
            ``laion400m``), or an ``Eva`` module of timm.
        blocks: number of blocks to keep; BLIP-2 omits the last of 40.
        dtype: the dtype of the weights.

    Raises:
        EncoderError: timm is not installed or has no such model, or the architecture is another one (EVA-02).
    """
    source = None
    if isinstance(model, str):
        source, model = f"timm/{model}", _create(model)
    facts = model.pretrained_cfg if hasattr(model, "pretrained_cfg") else {}
    heads, (image_size, _) = model.blocks[0].attn.num_heads, model.patch_embed.img_size
    tower: Any = tower_from_timm(model.state_dict(), heads=heads, image_size=image_size, blocks=blocks)
    processor: Any = CLIPImageProcessorPil
    normal = {"image_mean": facts.get("mean"), "image_std": facts.get("std")}
    processor = processor(**{name: list(value) for name, value in normal.items() if value})
    return EvaEncoder(tower.to(dtype), processor, source=source)


def tower_from_timm(tensors: Mapping[str, Tensor], *, heads: int, image_size: int, blocks: int) -> Blip2VisionModel:
    """A ``Blip2VisionModel`` with copies of the weights of one of timm's ``Eva`` models.

    Args:
        tensors: its state dict.
        heads: number of attention heads, which tensor shapes do not determine.
        image_size: side of the image, in pixels.
        blocks: number of blocks to keep.

    Raises:
        EncoderError: the tensors are of another architecture, or there are fewer blocks.

    Its ``post_layernorm`` is the identity: timm's final norm follows block 40, not block 39.
    """
    found, biases = _renamed(tensors, blocks)
    try:
        width, patch = tensors["patch_embed.proj.weight"].shape[0], tensors["patch_embed.proj.weight"].shape[-1]
        inner = tensors["blocks.0.mlp.fc1.weight"].shape[0]
        for block, (query, value) in biases.items():
            # Keys have no bias in timm; the fused linear layer of transformers has zeros there.
            joined = torch.cat([query, torch.zeros_like(query), value])
            found[f"encoder.layers.{block}.self_attn.qkv.bias"] = joined
        with torch.device("meta"):
            model: Any = Blip2VisionModel(
                Blip2VisionConfig(
                    hidden_size=width,
                    intermediate_size=inner,
                    num_hidden_layers=blocks,
                    num_attention_heads=heads,
                    image_size=image_size,
                    patch_size=patch,
                )
            )
        norm = {"post_layernorm.weight": torch.ones(width), "post_layernorm.bias": torch.zeros(width)}
        copied = {name: tensor.detach().clone() for name, tensor in found.items()}
        model.load_state_dict(copied | norm, assign=True)
    except (KeyError, RuntimeError, ValueError) as error:
        raise EncoderError(
            f"these are not the tensors of an EVA-CLIP with at least {blocks} blocks (EVA-02 is another architecture): "
            f"{str(error).splitlines()[0]}"
        ) from error
    tower: Blip2VisionModel = model.eval()
    return tower


def _create(name: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise EncoderError(
            f"{name!r} is loaded with timm, which is not installed: pip install 'inlay[timm]'. "
            "Without timm, take the vision tower of a BLIP-2 checkpoint: image='Salesforce/blip2-opt-2.7b'"
        ) from error
    try:
        return timm.create_model(name, pretrained=True, num_classes=0)
    except (RuntimeError, OSError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"timm cannot load {name!r}: {reason}") from error


def _renamed(tensors: Mapping[str, Tensor], blocks: int) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]:
    """Tensors of the kept blocks by their names in transformers, and the query and value biases of each block."""
    found: dict[str, Tensor] = {}
    biases: dict[str, tuple[Tensor, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _BLOCK.fullmatch(name)
        if match is None:
            if not name.startswith(("norm.", "fc_norm.", "head.")):
                found[_rename(name)] = tensor
            continue
        block, inner = match.groups()
        if int(block) >= blocks or inner == "attn.v_bias":
            continue
        if inner == "attn.q_bias":
            biases[block] = (tensor, tensors[f"blocks.{block}.attn.v_bias"])
        else:
            found[f"encoder.layers.{block}.{_rename(inner)}"] = tensor
    return found, biases


def _rename(name: str) -> str:
    """Rename the module and keep ``.weight`` or ``.bias``."""
    module, dot, kind = name.rpartition(".")
    if kind not in ("weight", "bias"):
        module, dot, kind = name, "", ""
    return f"{_RENAMES.get(module, module)}{dot}{kind}"
