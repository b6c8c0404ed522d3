"""Generators whose values are not finite raise an error and never give a black image or silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerAncestralDiscreteScheduler, LCMScheduler
from PIL import Image
from tiny_diffusion import make_pipeline, scheduler

from inlay.adapters.generators import GeneratorError
from inlay.adapters.media.video import Video

MODALITIES = ["image", "audio", "video"]
SIZES: dict[str, Any] = {"image": (8, 16), "audio": 0.05, "video": (2, 8, 8)}
STOCHASTIC = [DDPMScheduler, EulerAncestralDiscreteScheduler, LCMScheduler]


def zeros(generator: Any, count: int = 1) -> torch.Tensor:
    return torch.zeros(count, generator.tokens, generator.width)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["conditioning", "negative"])
def test_conditioning_that_is_not_finite_is_named(generator_of: Any, modality: str, value: float, name: str) -> None:
    generator = generator_of(modality)
    good, bad = zeros(generator), zeros(generator)
    bad[0, 0, 0] = value
    given = {"conditioning": bad} if name == "conditioning" else {"conditioning": good, "negative": bad}
    with pytest.raises(GeneratorError, match=f"{name}: NaN or infinite values in the float32 tensor"):
        generator.generate(**given, steps=1, size=SIZES[modality])


@pytest.mark.parametrize("modality", ["image", "video"])
def test_conditioning_that_overflows_the_generator_names_its_dtype(generator_of: Any, modality: str) -> None:
    generator = generator_of(modality).half()
    with pytest.raises(GeneratorError, match=r"conditioning: values up to 1e\+05 overflow float16"):
        generator.generate(zeros(generator) + 1e5, steps=1, size=SIZES[modality])


def test_large_audio_conditioning_is_normalised_before_it_can_overflow(generator_of: Any) -> None:
    generator = generator_of("audio")
    checked = generator.half().checked(torch.full((1, 1, 16), 1e5))
    torch.testing.assert_close(checked.float(), torch.full((1, 1, 16), 0.25), atol=1e-3, rtol=0)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_appear_while_denoising_are_an_error(generator_of: Any, modality: str, value: float) -> None:
    generator = generator_of(modality)
    with torch.no_grad():
        next(p for name, p in generator.unet.named_parameters() if name == "conv_out.bias").fill_(value)
    with pytest.raises(GeneratorError, match="denoising: NaN or infinite values in float32; lower guidance_scale"):
        generator.generate(zeros(generator), steps=2, size=SIZES[modality])


def test_an_infinite_value_that_the_scheduler_clips_is_an_error(generator_of: Any, parts_of: Any) -> None:
    parts = parts_of("image")
    clipping = DDIMScheduler.from_config(parts["scheduler"].config, clip_sample=True, prediction_type="sample")
    generator = generator_of("image", parts | {"scheduler": clipping})
    with torch.no_grad():
        generator.unet.conv_out.bias.fill_(float("inf"))
    with pytest.raises(GeneratorError, match="denoising: NaN or infinite"):
        generator.generate(zeros(generator), steps=1, guidance_scale=1)


def test_guidance_that_overflows_is_an_error(generator_of: Any) -> None:
    generator = generator_of("image")
    with pytest.raises(GeneratorError, match="denoising: NaN or infinite values in float32; lower guidance_scale"):
        generator.generate(generator.encode_text(["red"]), steps=2, guidance_scale=3e38)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_appear_while_decoding_are_an_error(generator_of: Any, modality: str, value: float) -> None:
    generator = generator_of(modality)
    with torch.no_grad():
        generator.vae.decoder.conv_out.bias.fill_(value)
    with pytest.raises(GeneratorError, match="decoding: NaN or infinite values in float32"):
        generator.generate(zeros(generator), steps=1, size=SIZES[modality])


def test_a_vocoder_that_gives_nan_is_an_error(generator_of: Any) -> None:
    generator = generator_of("audio")
    with torch.no_grad():
        generator.vocoder.conv_post.bias.fill_(float("nan"))
    with pytest.raises(GeneratorError, match="decoding: NaN"):
        generator.generate(zeros(generator), steps=1, size=0.05)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"guidance_scale": float("nan")}, "guidance_scale: expected a finite number"),
        ({"guidance_scale": "7"}, "guidance_scale: expected a finite number"),
        ({"steps": 51}, "steps: expected a whole number from 1 to 50, got 51"),
        ({"steps": 50}, "50 steps of DDIMScheduler reach timestep 50, the last one is 49"),
        ({"steps": 2.0}, "steps: expected a whole number"),
        ({"seed": 2**64}, "seed: expected a whole number"),
        ({"seed": -1}, "seed: expected a whole number"),
        ({"seed": "1"}, "seed: expected a whole number"),
        ({"size": "large"}, "size: expected"),
        ({"size": True}, "size: expected"),
        ({"size": float("inf")}, "size: expected"),
        ({"size": (8.0, 8.0, 8.0)}, "size: expected"),
    ],
)
@pytest.mark.parametrize("count", [0, 1])
def test_arguments_are_refused_by_name_even_without_media(
    generator_of: Any, modality: str, options: dict[str, Any], said: str, count: int
) -> None:
    generator = generator_of(modality)
    with pytest.raises(GeneratorError, match=said):
        generator.generate(zeros(generator, count), **{"steps": 1, "size": SIZES[modality]} | options)


def test_a_negative_text_in_place_of_conditioning_is_refused(generator_of: Any) -> None:
    generator = generator_of("image")
    with pytest.raises(GeneratorError, match="negative: expected a tensor, got str"):
        generator.generate(zeros(generator), steps=1, negative="blurry")


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("kind", STOCHASTIC, ids=lambda kind: kind.__name__)
def test_a_scheduler_that_draws_noise_obeys_the_seed(
    generator_of: Any, parts_of: Any, modality: str, kind: Any
) -> None:
    generator = generator_of(modality, parts_of(modality) | {"scheduler": scheduler(kind)})
    options: Any = {"steps": 3, "size": SIZES[modality]}
    two = generator.sample(zeros(generator, 2), seed=[3, 4], **options)
    alone = generator.sample(zeros(generator), seed=4, **options)
    torch.testing.assert_close(two[1:], alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(two[:1], alone, atol=0.05)
    assert torch.isfinite(generator.sample(zeros(generator, 2), **options)).all()


def test_a_clip_of_a_scheduler_that_draws_noise_equals_the_pipeline(generator_of: Any, parts_of: Any) -> None:
    parts = parts_of("video") | {"scheduler": scheduler(EulerAncestralDiscreteScheduler)}
    generator, pipeline = generator_of("video", parts), make_pipeline("video", parts)
    given = {"num_inference_steps": 3, "num_frames": 2, "height": 8, "width": 8, "output_type": "latent"}
    expected = pipeline("red", generator=torch.Generator().manual_seed(2), **given).frames
    got = generator.sample(generator.encode_text(["red"]), steps=3, seed=2, size=(2, 8, 8))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_a_text_in_place_of_a_list_of_texts_is_refused(generator_of: Any) -> None:
    with pytest.raises(GeneratorError, match="texts: expected a list of strings, got 'red'"):
        generator_of("image").encode_text("red")
    assert generator_of("image").encode_text([]).shape == (0, 9, 16)


def test_media_of_a_size_that_cannot_be_generated_are_not_encoded(generator_of: Any) -> None:
    with pytest.raises(GeneratorError, match="size: expected sides from 2 to 8192 that are multiples of 2"):
        generator_of("image").encode_media([Image.new("RGB", (9, 8))])
    with pytest.raises(GeneratorError, match="multiples of 2"):
        generator_of("video").encode_media([Video((Image.new("RGB", (8, 9)),), 8.0)])
    with pytest.raises(GeneratorError, match="expected clips of one length, got none"):
        generator_of("video").encode_media([])


def test_latents_without_conditioning_are_refused(generator_of: Any) -> None:
    generator = generator_of("image")
    with pytest.raises(GeneratorError, match="latents: expected 2 rows, got 1"):
        generator.diffusion_loss(zeros(generator, 2), torch.zeros(1, 4, 8, 8))


def test_the_scheduler_s_table_follows_the_scheduler(generator_of: Any) -> None:
    generator = generator_of("image")
    given = {"noise": torch.ones(1, 4, 8, 8), "timesteps": torch.tensor([7])}
    first = generator.diffusion_loss(zeros(generator), torch.ones(1, 4, 8, 8), **given)
    generator.scheduler = DDIMScheduler(num_train_timesteps=50, beta_start=0.1, beta_end=0.2)
    assert generator.diffusion_loss(zeros(generator), torch.ones(1, 4, 8, 8), **given) != first


def test_a_generator_in_half_precision_still_makes_pictures(generator_of: Any) -> None:
    generator = generator_of("image").bfloat16()
    (picture,) = generator.generate(zeros(generator), steps=2, seed=0)
    assert np.asarray(picture).std() > 0
