"""What llama.cpp's own image encoder computes from a mmproj file: right for SigLIP, wrong for CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mtmd_encode import mtmd_embeddings
from PIL import Image
from tiny_encoders import make_vision
from tiny_languages import DECODERS, make_language
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'inlay[llamacpp]'")

from inlay.adapters.encoders import ClipEncoder
from inlay.adapters.encoders.image.any_vision import AnyVisionEncoder
from inlay.adapters.export.gguf.base import base_content
from inlay.adapters.export.gguf.gguf_file import write_gguf
from inlay.adapters.export.gguf.mmproj import mmproj_content
from inlay.adapters.inputs.mlp import MlpConfig, MlpProjector


def cosine(encoder: Any, folder: Path) -> tuple[float, float]:
    """Largest relative difference and lowest cosine of the embeddings of one picture."""
    torch.manual_seed(2)
    for parameter in encoder.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    projector = MlpProjector(MlpConfig(width_in=16, width_out=32))
    write_gguf(folder / "mmproj.gguf", mmproj_content(encoder, projector, unsafe_clip=True))
    write_gguf(folder / "base.gguf", base_content(make_language(DECODERS["llama"], 100), "f32"))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = projector(encoder.encode(encoder.preprocess([Image.fromarray(pixels)], "squash")))[0].numpy()
    found = mtmd_embeddings(folder / "mmproj.gguf", folder / "base.gguf", pixels)
    assert found.shape == expected.shape
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    return float(np.abs(found - expected).max() / np.abs(expected).max()), float(cosines.min())


@pytest.mark.parametrize("layer", ["last", -1, -2])
def test_siglip_is_right(layer: Any, tmp_path: Path) -> None:
    model, processor = make_vision("siglip")
    difference, lowest = cosine(AnyVisionEncoder(model, processor, layer=layer), tmp_path)
    assert difference < 5e-3
    assert lowest > 0.9999


def test_clip_is_wrong(tmp_path: Path) -> None:
    """If this fails, llama.cpp has mended https://github.com/ggml-org/llama.cpp/issues/25814: allow CLIP then."""
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, image_size=32, patch_size=8
    )
    _, lowest = cosine(ClipEncoder(CLIPVisionModel(config), CLIPImageProcessorPil()), tmp_path)
    assert lowest < 0.99
