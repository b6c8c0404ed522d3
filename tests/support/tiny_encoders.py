"""Tiny random vision models of many families of transformers, and their image processors."""

from __future__ import annotations

from typing import Any

import torch
import transformers

__all__ = ["IMAGE_ENCODERS", "make_vision"]

_VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 32,
    "patch_size": 8,
}
_SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2}
_STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 32}
_TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}

IMAGE_ENCODERS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "aimv2": ("Aimv2VisionModel", _VIT, 16, 0),
    "beit": ("BeitModel", _VIT, 16, 1),
    "bit": ("BitModel", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_groups": 2}, 16, 0),
    "blip": ("BlipModel", {"text_config": _TEXT, "vision_config": _VIT}, 16, 1),
    "chinese_clip": ("ChineseCLIPVisionModel", _VIT, 16, 1),
    "clip": ("CLIPVisionModel", _VIT, 16, 1),
    "convnext": ("ConvNextModel", _STAGES, 16, 0),
    "convnextv2": ("ConvNextV2Model", _STAGES, 16, 0),
    "data2vec-vision": ("Data2VecVisionModel", _VIT, 16, 1),
    "deit": ("DeiTModel", _VIT, 16, 2),
    "dinov2": ("Dinov2Model", _VIT, 16, 1),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", {**_VIT, "num_register_tokens": 4}, 16, 5),
    "dinov3_convnext": ("DINOv3ConvNextModel", {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}, 49, 1),
    "dinov3_vit": ("DINOv3ViTModel", {**_VIT, "num_register_tokens": 4}, 16, 5),
    "focalnet": ("FocalNetModel", {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1]}, 16, 0),
    "hiera": (
        "HieraModel",
        {"image_size": [32, 32], "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]},
        1,
        0,
    ),
    "ijepa": ("IJepaModel", _VIT, 16, 0),
    "metaclip_2": ("MetaClip2Model", {"text_config": _TEXT, "vision_config": _VIT}, 16, 1),
    "pixtral": ("PixtralVisionModel", _VIT, 16, 0),
    "poolformer": ("PoolFormerModel", {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}, 1, 0),
    "pvt_v2": ("PvtV2Model", {"image_size": 32}, 1, 0),
    "regnet": (
        "RegNetModel",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 4},
        16,
        0,
    ),
    "resnet": ("ResNetModel", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}, 16, 0),
    "sam": ("SamVisionModel", {**_VIT, "output_channels": 12, "window_size": 2, "global_attn_indexes": [1]}, 16, 0),
    "segformer": ("SegformerModel", {"image_size": 32}, 1, 0),
    "siglip": ("SiglipVisionModel", _VIT, 16, 0),
    "siglip (whole)": ("SiglipModel", {"text_config": _TEXT, "vision_config": _VIT}, 16, 0),
    "siglip2 (NaFlex)": ("Siglip2VisionModel", {**_VIT, "num_patches": 16}, 16, 0),
    "swin": ("SwinModel", _SWIN, 64, 0),
    "swinv2": ("Swinv2Model", _SWIN, 64, 0),
    "vit": ("ViTModel", _VIT, 16, 1),
    "vit_msn": ("ViTMSNModel", _VIT, 16, 1),
}
"""Family -> model class, sizes, tokens without special ones, and special tokens in front."""


def make_vision(name: str, seed: int = 0) -> tuple[Any, Any]:
    """A model of the table, in eval mode, and an image processor."""
    torch.manual_seed(seed)
    model_class, sizes = IMAGE_ENCODERS[name][:2]
    family: Any = getattr(transformers, model_class)
    model = family(family.config_class(**sizes)).eval()
    for parameter in model.parameters():  # layer scales and position embeddings of some start at zero
        if not parameter.any() or parameter.abs().max() < 1e-4:
            torch.nn.init.normal_(parameter, std=0.1)
    side = {"height": 32, "width": 32}
    return model, transformers.ViTImageProcessorPil(size=side, image_mean=[0.5, 0.4, 0.3], image_std=[0.5, 0.6, 0.7])
