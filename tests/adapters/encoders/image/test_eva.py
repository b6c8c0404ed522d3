"""EVA: features before the norm that trains, class token kept, one backbone whatever checkpoint the tower is from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Blip2ForConditionalGeneration,
    Blip2VisionConfig,
    Blip2VisionModel,
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
)

from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.verdict import check
from inlay.adapters.encoders import ClipEncoder, EncoderError, EvaEncoder
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.pretrained import BackboneError

PIXELS = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
PROCESSOR = BlipImageProcessorPil(size={"height": 16, "width": 16})


@torch.no_grad()
def test_features_become_the_models_own_output_by_its_post_layernorm(blip2_of: Any) -> None:
    tower = blip2_of().vision_model
    encoder = EvaEncoder(tower, PROCESSOR)
    expected = tower(PIXELS).last_hidden_state
    torch.testing.assert_close(tower.post_layernorm(encoder.encode(PIXELS)), expected)
    assert not torch.allclose(encoder.encode(PIXELS), expected, atol=1e-2)


@torch.no_grad()
def test_short_way_to_the_last_layer_equals_the_recorded_hidden_states(blip2_of: Any) -> None:
    tower = blip2_of().vision_model
    states = tower(PIXELS, output_hidden_states=True).hidden_states
    assert len(states) == 3
    for layer in (-1, -2, 0):
        assert torch.equal(EvaEncoder(tower, PROCESSOR, layer=layer).encode(PIXELS), states[layer])


def test_class_token_is_kept(blip2_of: Any) -> None:
    encoder = EvaEncoder(blip2_of(), PROCESSOR)
    assert (encoder.tokens, encoder.width) == (5, 24)
    assert encoder.port.settings == {"layer": -1, "class_token": "keep", "image_size": 16}
    assert EvaEncoder(blip2_of(), PROCESSOR, class_token="drop").tokens == 4


def test_last_means_after_the_models_own_norm(blip2_of: Any) -> None:
    tower = blip2_of().vision_model
    encoder = EvaEncoder(tower, PROCESSOR, layer="last")
    with torch.no_grad():
        assert torch.equal(encoder.encode(PIXELS), tower(PIXELS).last_hidden_state)


def test_norm_that_trains_does_not_count_for_the_digest(blip2_of: Any) -> None:
    one, other = blip2_of(), blip2_of()
    with torch.no_grad():
        other.vision_model.post_layernorm.weight.add_(1)
    ports = [EvaEncoder(model, PROCESSOR).port for model in (one, other)]
    assert check({"image": ports[0]}, {"image": ports[1]}).verdict == "exact"
    used = [EvaEncoder(model, PROCESSOR, layer="last").port for model in (one, other)]
    assert check({"image": used[0]}, {"image": used[1]}).verdict == "fits"


def test_other_blocks_are_other_weights(blip2_of: Any) -> None:
    ports = [EvaEncoder(blip2_of(seed), PROCESSOR).port for seed in (4, 5)]
    assert check({"image": ports[0]}, {"image": ports[1]}).verdict == "fits"


def test_towers_of_blip2_and_instructblip_are_one_backbone(blip2_of: Any, instructblip_of: Any) -> None:
    blip2, instruct = blip2_of(), instructblip_of()
    instruct.vision_model.load_state_dict(blip2.vision_model.state_dict())
    one, other = EvaEncoder(blip2, PROCESSOR), EvaEncoder(instruct, PROCESSOR)
    assert check({"image": one.port}, {"image": other.port}).verdict == "exact"
    assert torch.equal(one.encode(PIXELS), other.encode(PIXELS))


def test_squashed_pixels_equal_the_processor_of_transformers(blip2_of: Any, image_of: Any) -> None:
    encoder = EvaEncoder(blip2_of(), PROCESSOR)
    for seed, size in enumerate([(20, 14), (16, 16), (61, 33), (9, 40)]):
        image = image_of(seed, size)
        theirs = PROCESSOR(images=image, return_tensors="pt").pixel_values
        torch.testing.assert_close(encoder.preprocess([image], "squash"), theirs, atol=1e-5, rtol=0)


def test_true_size_gives_257_features_of_1408() -> None:
    with torch.device("meta"):
        tower = Blip2VisionModel(Blip2VisionConfig())
    encoder = EvaEncoder(tower, PROCESSOR)
    assert sum(parameter.numel() for parameter in tower.parameters()) == 985_952_256
    assert (encoder.tokens, encoder.width) == (257, 1408)


def test_clip_with_its_last_block_left_out_is_blip2s_clip_variant() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_attention_heads": 4, "image_size": 16, "patch_size": 8}
    whole = CLIPVisionModel(CLIPVisionConfig(**sizes, num_hidden_layers=24)).eval()
    shorter = CLIPVisionModel(CLIPVisionConfig(**sizes, num_hidden_layers=23)).eval()
    known = shorter.state_dict()
    shorter.load_state_dict({name: tensor for name, tensor in whole.state_dict().items() if name in known})
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    encoder = ClipEncoder(whole, processor, layer=-2, class_token="keep")
    with torch.no_grad():
        expected = shorter(PIXELS, output_hidden_states=True).hidden_states[-1]
    assert expected.shape == (2, 5, 24)
    torch.testing.assert_close(encoder.encode(PIXELS), expected)


def test_model_of_another_kind_is_refused(clip_of: Any) -> None:
    with pytest.raises(EncoderError, match=r"expected a Blip2VisionModel, .* got CLIPVisionModel"):
        EvaEncoder(clip_of().model, PROCESSOR)


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    PROCESSOR.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("part", ["tower", "whole", "generation", "instruct", "instruct-tower"])
def test_folders_load_whatever_stands_around_the_tower(
    part: str, tmp_path: Path, blip2_of: Any, instructblip_of: Any
) -> None:
    if part == "generation":
        model = blip2_of(kind=Blip2ForConditionalGeneration)
    else:
        model = instructblip_of() if part.startswith("instruct") else blip2_of()
    folder = save(model.vision_model if part.endswith("tower") else model, tmp_path / "blip")
    loaded = load_image_encoder(folder, dtype="float32")
    assert loaded.family == "eva"
    assert loaded.port.weights == EvaEncoder(model, PROCESSOR).port.weights
    assert torch.equal(loaded.encode(PIXELS), EvaEncoder(model, PROCESSOR).encode(PIXELS))
    assert loaded.port.source == "blip"


def test_backbone_takes_layer_and_class_token(tmp_path: Path, blip2_of: Any, llm_of: Any) -> None:
    language = llm_of("opt")
    language.model.save_pretrained(tmp_path / "llm")
    language.tokenizer.save_pretrained(tmp_path / "llm")
    folder = save(blip2_of(), tmp_path / "blip")
    backbone = Backbone.from_pretrained(tmp_path / "llm", folder, dtype="float32", layer=-2, class_token="drop")
    assert backbone.ports["image"].settings["layer"] == -2
    assert backbone.encoder("image").tokens == 4


def test_family_that_is_not_known_is_named(tmp_path: Path, llm_of: Any) -> None:
    llm_of("opt").model.save_pretrained(tmp_path / "llm")
    with pytest.raises(BackboneError, match=r"image encoders of type 'opt' are not supported; .*blip-2, instructblip"):
        load_image_encoder(tmp_path / "llm")
