"""At least 25 families of vision models: loaded from folders, with the features that transformers itself computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_encoders import IMAGE_ENCODERS, make_vision
from transformers import Siglip2ImageProcessorPil, ViTImageProcessorPil, ViTMAEConfig, ViTMAEModel

from inlay.adapters.encoders import AnyVisionEncoder, EncoderError, FrameEncoder
from inlay.adapters.loading.encoders.image import load_image_encoder


def by_hand(model: Any, pixels: torch.Tensor, special: int) -> torch.Tensor:
    """Features of the whole model, whose maps in transformers are ``[n, channels, height, width]``."""
    with torch.no_grad():
        found = getattr(model, "vision_model", model)(pixels).last_hidden_state
    rows = torch.stack([image.reshape(len(image), -1).T for image in found]) if found.dim() == 4 else found
    return rows[:, special:]


def test_there_are_at_least_25_families() -> None:
    assert len({entry[0] for entry in IMAGE_ENCODERS.values()}) >= 25


@pytest.mark.parametrize("family", IMAGE_ENCODERS)
def test_a_family_loads_and_gives_the_features_of_transformers(saved: Any, family: str) -> None:
    model, processor = make_vision(family)
    encoder: Any = load_image_encoder(saved(model, processor))
    _, _, tokens, special = IMAGE_ENCODERS[family]
    pixels = torch.randn(3, 3, encoder.image_size, encoder.image_size)
    features = encoder.encode(pixels)
    assert features.shape == (3, encoder.tokens, encoder.width)
    assert encoder.tokens == tokens
    torch.testing.assert_close(features[1:2], encoder.encode(pixels[1:2]), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(features[0], features[1])
    if isinstance(encoder, AnyVisionEncoder):
        assert encoder.special == special
        assert encoder.class_token == ("drop" if special else "none")
    if family not in ("clip", "siglip2 (NaFlex)", "pixtral"):
        torch.testing.assert_close(features, by_hand(model, pixels, special), rtol=1e-4, atol=1e-5)
    assert encoder.encode(pixels[:0]).shape == (0, tokens, encoder.width)
    assert encoder.port.settings["class_token"] == encoder.class_token


def test_naflex_patches_are_those_of_its_processor(image_of: Any) -> None:
    model, _ = make_vision("siglip2 (NaFlex)")
    processor = Siglip2ImageProcessorPil(
        patch_size=8, max_num_patches=16, image_mean=[0.5, 0.4, 0.3], image_std=[0.5, 0.6, 0.7]
    )
    encoder = AnyVisionEncoder(model, processor)
    image = image_of(0, (32, 32))
    theirs = processor(images=image, return_tensors="pt")
    with torch.no_grad():
        wanted = model(**{**theirs, "spatial_shapes": theirs["spatial_shapes"]}).last_hidden_state
    found = encoder.encode(encoder.preprocess([image], "squash"))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_pixtral_encodes_each_image_alone() -> None:
    model, processor = make_vision("pixtral")
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        wanted = torch.cat([model(row[None]).last_hidden_state for row in pixels])
    torch.testing.assert_close(AnyVisionEncoder(model, processor).encode(pixels), wanted, rtol=1e-4, atol=1e-5)


def test_a_map_with_its_channels_last_is_read_row_by_row() -> None:
    model, processor = make_vision("sam")
    encoder = AnyVisionEncoder(model, processor, layer=1)
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        wanted = model(pixels, output_hidden_states=True).hidden_states[1]
    assert wanted.shape == (1, 4, 4, 16)
    assert torch.equal(encoder.encode(pixels), wanted.reshape(1, 16, 16))


def test_keep_is_the_class_token_without_registers() -> None:
    model, processor = make_vision("dinov2_with_registers")
    encoder = AnyVisionEncoder(model, processor, class_token="keep")
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        whole = model(pixels).last_hidden_state
    assert torch.equal(encoder.encode(pixels), torch.cat([whole[:, :1], whole[:, 5:]], dim=1))


@pytest.mark.parametrize(
    ("family", "class_token", "message"),
    [
        ("siglip", "keep", "has no class token to keep; give class_token='none'"),
        ("dinov3_vit", "none", "has 5 special tokens before its patches; give class_token='drop'"),
    ],
)
def test_a_class_token_rule_that_the_model_cannot_follow_is_refused(
    family: str, class_token: Any, message: str
) -> None:
    with pytest.raises(EncoderError, match=message):
        AnyVisionEncoder(*make_vision(family), class_token=class_token)


def test_a_model_that_masks_at_random_is_refused(saved: Any) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    model = ViTMAEModel(ViTMAEConfig(**sizes))
    with pytest.raises(EncoderError, match="other features for the same image each time"):
        load_image_encoder(saved(model, ViTImageProcessorPil()))


def test_another_size_is_interpolated_where_the_model_can() -> None:
    model, processor = make_vision("dinov2")
    encoder = AnyVisionEncoder(model, processor, image_size=48)
    assert encoder.tokens == 36
    assert encoder.port.settings["image_size"] == 48


def test_a_model_without_an_image_size_takes_that_of_its_processor() -> None:
    model, processor = make_vision("resnet")
    assert AnyVisionEncoder(model, processor).image_size == 32
    processor.size = None
    with pytest.raises(EncoderError, match=r"neither config\.json nor the image processor has an image size"):
        AnyVisionEncoder(model, processor)


def test_frames_of_a_clip_pass_through_any_vision_model() -> None:
    frames = FrameEncoder(AnyVisionEncoder(*make_vision("siglip")), frames=2)
    assert (frames.tokens, frames.width) == (32, 16)


@pytest.mark.parametrize("family", ["siglip", "dinov2", "dinov2_with_registers"])
def test_a_model_on_the_meta_device_is_counted(family: str) -> None:
    model, processor = make_vision(family)
    encoder = AnyVisionEncoder(model.to("meta"), processor)
    assert (encoder.tokens, encoder.special) == IMAGE_ENCODERS[family][2:]
