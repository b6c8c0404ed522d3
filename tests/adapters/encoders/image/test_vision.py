"""Encoders: layer and class token as stated, tokens probed, pixels as transformers makes them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from inlay.adapters.backbone import Backbone
from inlay.adapters.encoders import ClipEncoder, EncoderError


@pytest.mark.parametrize("layer", [0, 1, -2, -1])
@pytest.mark.parametrize("class_token", ["drop", "keep"])
def test_features_are_the_stated_hidden_states(clip_of: Any, layer: int, class_token: str) -> None:
    encoder = clip_of(layer=layer, class_token=class_token)
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        states = encoder.model(pixels, output_hidden_states=True).hidden_states[layer]
    expected = states[:, 1:] if class_token == "drop" else states
    assert torch.equal(encoder.encode(pixels), expected)


def test_tokens_and_width_are_those_of_a_real_pass(clip_of: Any, vit_of: Any) -> None:
    for encoder in (clip_of(), clip_of(class_token="keep"), vit_of()):
        features = encoder.encode(torch.zeros(1, 3, 16, 16))
        assert (encoder.tokens, encoder.width) == tuple(features.shape[1:])


def test_last_means_the_models_own_last_hidden_state(vit_of: Any) -> None:
    encoder = vit_of()
    pixels = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        expected = encoder.model(pixels).last_hidden_state[:, 1:]
    assert torch.equal(encoder.encode(pixels), expected)


def test_crop_pixels_equal_the_processor_of_transformers(clip_of: Any, image_of: Any) -> None:
    encoder = clip_of()
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    for seed, size in enumerate([(20, 14), (16, 16), (61, 33), (9, 40)]):
        image = image_of(seed, size)
        theirs = processor(images=image, return_tensors="pt").pixel_values
        torch.testing.assert_close(encoder.preprocess([image], "crop"), theirs, atol=1e-5, rtol=0)


def test_encoder_gives_no_gradient_to_itself_and_stays_in_eval_mode(clip_of: Any) -> None:
    encoder = clip_of()
    assert not encoder.encode(torch.zeros(1, 3, 16, 16)).requires_grad
    assert not encoder.model.training


def test_backbone_stays_in_eval_mode_whatever_is_asked(backbone_of: Any) -> None:
    backbone = backbone_of()
    backbone.train()
    assert not any(module.training for module in backbone.modules())


def test_vision_tower_of_a_whole_clip_model_is_found(clip_of: Any) -> None:
    vision = clip_of().model.config.to_dict()
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 50,
    }
    whole = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=8))
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    encoder = ClipEncoder(whole, processor)
    assert encoder.tokens == 4


def test_encoder_of_ones_own_needs_what_the_protocol_lists_and_nothing_else(llm_of: Any, clip_of: Any) -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = clip_of()
            self.port, self.family, self.tokens, self.width = self.inner.port, "own", 4, 24
            self.device, self.dtype = torch.device("cpu"), torch.float32
            self.preprocess, self.encode = self.inner.preprocess, self.inner.encode

    own = Own()
    assert Backbone(llm_of("llama"), {"image": own}).encoder("image") is own
    del own.tokens, own.encode
    with pytest.raises(EncoderError, match=r"Encoder; Own has no tokens, encode"):
        Backbone(llm_of("llama"), {"image": own})
