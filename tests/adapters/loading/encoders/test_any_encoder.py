"""Encoders that are not registered: the class that transformers has, and one tower of a larger model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_languages import MULTIMODAL, make_language
from transformers import ViTImageProcessorPil

from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.pretrained import BackboneError


@pytest.mark.parametrize("family", ["paligemma", "gemma3", "llava", "mistral3"])
def test_the_vision_tower_of_a_finished_model_is_read_alone(saved: Any, family: str) -> None:
    model = make_language(MULTIMODAL[family], 378)
    encoder: Any = load_image_encoder(saved(model, ViTImageProcessorPil()))
    pixels = torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        wanted = model.model.vision_tower(pixels).last_hidden_state
    torch.testing.assert_close(encoder.encode(pixels), wanted[:, encoder.special :], rtol=1e-4, atol=1e-5)


def test_a_language_model_is_no_image_encoder(saved: Any, llm_of: Any) -> None:
    with pytest.raises(BackboneError, match="image encoders of type 'llama' are not supported"):
        load_image_encoder(saved(llm_of("llama").model, ViTImageProcessorPil()))
