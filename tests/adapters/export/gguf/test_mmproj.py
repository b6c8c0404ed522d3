"""An image encoder and its projector as GGUF: names, sizes, the blocks that are used, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import make_vision
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

from inlay.adapters.encoders import ClipEncoder
from inlay.adapters.encoders.image.any_vision import AnyVisionEncoder
from inlay.adapters.export.gguf.gguf_file import GgufError, read_back, write_gguf
from inlay.adapters.export.gguf.mmproj import mmproj_content
from inlay.adapters.inputs.linear import LinearConfig, LinearProjector
from inlay.adapters.inputs.mlp import MlpConfig, MlpProjector

_LAYER = ("attn_q", "attn_k", "attn_v", "attn_out", "ln1", "ln2", "ffn_up", "ffn_down")


def siglip(**options: Any) -> AnyVisionEncoder:
    model, processor = make_vision("siglip")
    return AnyVisionEncoder(model, processor, **options)


def clip(**changes: Any) -> ClipEncoder:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = CLIPVisionConfig(**{**sizes, "image_size": 32, "patch_size": 8, **changes})
    return ClipEncoder(CLIPVisionModel(config), CLIPImageProcessorPil())


def projector(width: int = 16, depth: int = 2) -> MlpProjector:
    torch.manual_seed(0)
    return MlpProjector(MlpConfig(width_in=width, width_out=32, depth=depth))


@pytest.mark.parametrize(
    ("layer", "blocks", "post"), [("last", 2, True), (-1, 2, False), (2, 2, False), (-2, 1, False), (1, 1, False)]
)
def test_the_used_blocks_of_siglip(layer: Any, blocks: int, post: bool) -> None:
    encoder = siglip(layer=layer)
    content = mmproj_content(encoder, projector())
    expected = {f"v.blk.{n}.{name}.{leaf}" for n in range(blocks) for name in _LAYER for leaf in ("weight", "bias")}
    expected |= {"v.patch_embd.weight", "v.patch_embd.bias", "v.position_embd.weight"}
    expected |= {f"mm.{n}.{leaf}" for n in (0, 2) for leaf in ("weight", "bias")}
    expected |= {"v.post_ln.weight", "v.post_ln.bias"} if post else set()
    assert set(content.tensors) == expected
    assert content.header["clip.vision.block_count"] == blocks
    assert content.header["clip.vision.feature_layer"] == [blocks]


def test_the_header_of_siglip() -> None:
    header = mmproj_content(siglip(), projector()).header
    assert header["clip.projector_type"] == "mlp"
    assert header["clip.has_vision_encoder"] is header["clip.use_gelu"] is True
    assert header["clip.vision.projection_dim"] == 32
    assert header["clip.vision.image_mean"] == [0.5, 0.4, 0.3]
    assert header["clip.vision.image_std"] == [0.5, 0.6, 0.7]
    sizes = {"image_size": 32, "patch_size": 8, "embedding_length": 16, "feed_forward_length": 24}
    assert {name: header[f"clip.vision.{name}"] for name in sizes} == sizes


def test_the_file_holds_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    encoder, own = siglip(), projector()
    content = mmproj_content(encoder, own)
    write_gguf(tmp_path / "mmproj.gguf", content)
    assert read_back(tmp_path / "mmproj.gguf", content).tensors == len(content.tensors)
    held = dict(encoder.model.named_parameters())
    for name, place in {
        "vision_model.encoder.layers.1.mlp.fc2.weight": "v.blk.1.ffn_down.weight",
        "vision_model.encoder.layers.0.self_attn.out_proj.bias": "v.blk.0.attn_out.bias",
        "vision_model.embeddings.patch_embedding.weight": "v.patch_embd.weight",
    }.items():
        tensor = held[name] if name in held else held[name.removeprefix("vision_model.")]
        assert np.array_equal(content.tensors[place].load(), tensor.detach().numpy())
    assert np.array_equal(content.tensors["mm.2.weight"].load(), own.layers[2].weight.detach().numpy())


def test_clip_is_refused_with_the_issue() -> None:
    with pytest.raises(GgufError, match=r"class token \(CLIP\).*llama.cpp/issues/25814.*--unsafe_clip"):
        mmproj_content(clip(), projector())


def test_clip_is_written_on_demand() -> None:
    content = mmproj_content(clip(), projector(), unsafe_clip=True)
    assert {"v.class_embd", "v.pre_ln.weight", "v.pre_ln.bias"} <= set(content.tensors)
    assert content.header["clip.use_gelu"] is False
    assert content.header["clip.vision.block_count"] == 2  # layer -2 of 3 blocks
    assert not any(name.startswith("v.blk.2") for name in content.tensors)


@pytest.mark.parametrize(
    ("encoder", "projector", "said"),
    [
        (siglip(), LinearProjector(LinearConfig(width_in=16, width_out=32)), "the adapter has 'linear'"),
        (siglip(), projector(depth=3), "the adapter has 'mlp' of depth 3"),
        (clip(hidden_act="gelu"), projector(), "this encoder has 'gelu'"),
        (AnyVisionEncoder(*make_vision("dinov2")), projector(), "the adapter has 'dinov2'"),
        (siglip(layer=0), projector(), "got layer 0 of 2 blocks"),
        (siglip(image_size=64), projector(), "pictures are 64 pixels wide and the position embeddings are for 32"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(encoder: Any, projector: Any, said: str) -> None:
    with pytest.raises(GgufError, match=said):
        mmproj_content(encoder, projector, unsafe_clip=True)
