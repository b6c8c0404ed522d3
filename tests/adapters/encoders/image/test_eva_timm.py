"""EVA-CLIP out of timm: the same features under other names, and a clear word where timm is missing."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from inlay.adapters.encoders import EncoderError, EvaEncoder, eva_from_timm
from inlay.adapters.encoders.image.eva_timm import tower_from_timm

PIXELS = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def as_timm(tower: Any, extra_blocks: int = 1) -> dict[str, Tensor]:
    """The tensors of a tower under timm's names, with one more block and a head as EVA-CLIP's file has them."""
    tensors = {
        "cls_token": tower.embeddings.class_embedding,
        "pos_embed": tower.embeddings.position_embedding,
        "patch_embed.proj.weight": tower.embeddings.patch_embedding.weight,
        "patch_embed.proj.bias": tower.embeddings.patch_embedding.bias,
        "norm.weight": torch.full((24,), 3.0),
        "norm.bias": torch.zeros(24),
        "head.weight": torch.zeros(8, 24),
        "head.bias": torch.zeros(8),
    }
    layers = list(tower.encoder.layers)
    for number, layer in enumerate(layers + layers[:extra_blocks]):
        query, _, value = layer.self_attn.qkv.bias.chunk(3)
        tensors |= {
            f"blocks.{number}.attn.q_bias": query,
            f"blocks.{number}.attn.v_bias": value,
            f"blocks.{number}.attn.qkv.weight": layer.self_attn.qkv.weight,
        }
        modules = {
            "norm1": layer.layer_norm1,
            "norm2": layer.layer_norm2,
            "attn.proj": layer.self_attn.projection,
            "mlp.fc1": layer.mlp.fc1,
            "mlp.fc2": layer.mlp.fc2,
        }
        for name, module in modules.items():
            tensors |= {f"blocks.{number}.{name}.{kind}": tensor for kind, tensor in module.named_parameters()}
    return tensors


@pytest.fixture
def tower(blip2_of: Any) -> Any:
    tower = blip2_of().vision_model
    with torch.no_grad():
        for layer in tower.encoder.layers:
            query, key, value = layer.self_attn.qkv.bias.chunk(3)
            query.normal_()
            key.zero_()  # EVA's keys have no bias
            value.normal_()
    return tower


def test_renamed_tensors_give_the_same_features(tower: Any, clip_of: Any) -> None:
    renamed = tower_from_timm(as_timm(tower), heads=2, image_size=16, blocks=2)
    processor = clip_of()
    processor.image_mean, processor.image_std = processor.mean, processor.deviation
    ours, theirs = EvaEncoder(renamed, processor), EvaEncoder(tower, processor)
    assert torch.equal(ours.encode(PIXELS), theirs.encode(PIXELS))
    assert ours.port.weights == theirs.port.weights


def test_copies_are_independent_and_the_norm_behind_them_is_the_identity(tower: Any) -> None:
    renamed = tower_from_timm(as_timm(tower), heads=2, image_size=16, blocks=2)
    with torch.no_grad():
        tower.embeddings.class_embedding.zero_()
    assert renamed.embeddings.class_embedding.any()
    assert (renamed.post_layernorm.weight == 1).all()


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [({"blocks.0.mlp.w12.weight": torch.zeros(2, 2)}, 2), ({}, 4), ({"rope.bands": torch.zeros(3)}, 2)],
    ids=["eva02", "too-few-blocks", "rotary"],
)
def test_another_architecture_is_refused(tower: Any, changes: dict[str, Tensor], blocks: int) -> None:
    with pytest.raises(EncoderError, match=f"not the tensors of an EVA-CLIP with at least {blocks} blocks"):
        tower_from_timm(as_timm(tower) | changes, heads=2, image_size=16, blocks=blocks)


def test_without_timm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(EncoderError, match=r"timm, which is not installed: pip install 'inlay\[timm\]'"):
        eva_from_timm()


def test_features_equal_those_of_timm_itself() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    sizes = {"embed_dim": 24, "depth": 3, "num_heads": 2, "img_size": 28, "num_classes": 0}
    model = timm.create_model("eva_giant_patch14_clip_224", pretrained=False, **sizes).eval()
    for tensor in model.parameters():
        torch.nn.init.normal_(tensor, std=0.2)
    encoder = eva_from_timm(model, blocks=2)
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        states = model.forward_intermediates(
            pixels, indices=[1], return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
        )
        patches, first = states[0]
    torch.testing.assert_close(encoder.encode(pixels), torch.cat([first, patches], dim=1), atol=1e-5, rtol=1e-5)
    assert encoder.mean == pytest.approx(timm.data.OPENAI_CLIP_MEAN)
