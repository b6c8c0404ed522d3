"""EVA-CLIP's weights out of timm (https://github.com/huggingface/pytorch-image-models), for ``inlay[timm]``.

timm's ``eva_giant_patch14_clip_224`` and transformers' ``Blip2VisionModel`` are one architecture under two sets of
names. So timm is only asked for the weights: they are copied into the class of transformers, the blocks that BLIP-2
does not use are left out, and from there on it is the same encoder, with the same digest for the same weights.
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
        model: the name of a pretrained model of timm (``merged2b`` instead of ``laion400m`` is EVA-CLIP's other set of
            weights), or an ``Eva`` module of timm that is already in memory.
        blocks: how many blocks to keep; BLIP-2 leaves the last of 40 out.
        dtype: of the weights.

    Raises:
        EncoderError: timm is not installed, has no such model, or it is of another architecture (EVA-02).
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
        heads: attention heads, which no tensor tells.
        image_size: pixels of a side.
        blocks: how many blocks to keep.

    Raises:
        EncoderError: tensors that this architecture does not have, or fewer blocks.

    Its ``post_layernorm`` is the identity: timm's final norm stands after block 40, not after block 39.
    """
    found, biases = _renamed(tensors, blocks)
    try:
        width, patch = tensors["patch_embed.proj.weight"].shape[0], tensors["patch_embed.proj.weight"].shape[-1]
        inner = tensors["blocks.0.mlp.fc1.weight"].shape[0]
        for block, (query, value) in biases.items():
            # Keys have no bias; the fused linear layer of transformers has zeros in their place.
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
            f"EVA-CLIP as {name!r} comes from timm, which is not installed: pip install 'inlay[timm]'. "
            "Without it, take the tower of a BLIP-2 checkpoint: image='Salesforce/blip2-opt-2.7b'"
        ) from error
    try:
        return timm.create_model(name, pretrained=True, num_classes=0)
    except (RuntimeError, OSError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"timm cannot give {name!r}: {reason}") from error


def _renamed(tensors: Mapping[str, Tensor], blocks: int) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]:
    """Tensors by the names of transformers, without the blocks that are left out, and the biases of each attention."""
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
    """The module's new name, its ``.weight`` or ``.bias`` as it was."""
    module, dot, kind = name.rpartition(".")
    if kind not in ("weight", "bias"):
        module, dot, kind = name, "", ""
    return f"{_RENAMES.get(module, module)}{dot}{kind}"
