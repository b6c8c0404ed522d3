"""Our loops against diffusers' pipelines: the same parts, the same seed, the same media to 1e-5."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler

PROMPTS = ["what is shown?", "two squares are red"]
SIZES: dict[str, Any] = {"image": (24, 16), "video": (2, 8, 8), "audio": 0.075}
CALLS: dict[str, dict[str, Any]] = {
    "image": {"height": 24, "width": 16},
    "video": {"height": 8, "width": 8, "num_frames": 2},
    "audio": {"audio_length_in_s": 0.075},
}
CASES = [("image", kind) for kind in ("ddim", "pndm", "euler", "dpm")]
CASES += [(modality, kind) for modality in ("video", "audio") for kind in ("ddim", "dpm")]
SCHEDULERS = {"pndm": PNDMScheduler, "euler": EulerDiscreteScheduler, "dpm": DPMSolverMultistepScheduler}


def theirs(pipeline: Any, modality: str, **options: Any) -> np.ndarray:
    """What the pipeline gives as numbers."""
    if modality == "audio":
        return pipeline(**CALLS[modality], **options, output_type="np").audios
    result = pipeline(**CALLS[modality], **options, output_type="np")
    return result.images if modality == "image" else result.frames


def ours(generator: Any, modality: str, conditioning: torch.Tensor, **options: Any) -> np.ndarray:
    """What the generator gives before it becomes bytes."""
    latents = generator.sample(conditioning, size=SIZES[modality], **options)
    if modality == "audio":
        return np.stack([sound.samples for sound in generator.decode(latents, SIZES[modality])])
    if modality == "video":
        count, latents = len(latents), latents.transpose(1, 2).flatten(0, 1)
    pixels = generator.vae.decode(latents / generator.vae.config.scaling_factor).sample
    pixels = (pixels * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    return pixels if modality == "image" else pixels.reshape(count, -1, *pixels.shape[1:])


def sources(seed: int, count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("modality", "kind"), CASES)
def test_equal_from_text(parts_of: Any, pipeline_of: Any, generator_of: Any, modality: str, kind: str) -> None:
    parts = parts_of(modality)
    if kind in SCHEDULERS:
        parts["scheduler"] = SCHEDULERS[kind].from_config(parts["scheduler"].config)
    generator, options = generator_of(modality, parts), {"guidance_scale": 4.0}
    expected = theirs(
        pipeline_of(modality, parts),
        modality,
        prompt=PROMPTS,
        num_inference_steps=4,
        generator=sources(11, 2),
        **options,
    )
    got = ours(generator, modality, generator.encode_text(PROMPTS), steps=4, seed=11, **options)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("modality", ["image", "video", "audio"])
def test_equal_from_embeddings_with_a_negative_and_without_guidance(
    parts_of: Any, pipeline_of: Any, generator_of: Any, modality: str
) -> None:
    parts = parts_of(modality)
    generator, pipeline = generator_of(modality, parts), pipeline_of(modality, parts)
    conditioning = generator.encode_text(PROMPTS)
    negative = generator.encode_text(["a small blue star", "three"])
    shape = (lambda tensor: tensor.squeeze(1)) if modality == "audio" else (lambda tensor: tensor)
    for scale in (1.0, 3.0):
        given = {"prompt_embeds": shape(conditioning), "guidance_scale": scale, "num_inference_steps": 3}
        expected = theirs(pipeline, modality, **given, negative_prompt_embeds=shape(negative), generator=sources(5, 2))
        got = ours(generator, modality, conditioning, negative=negative, guidance_scale=scale, steps=3, seed=5)
        np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)


def test_equal_with_a_scheduler_that_draws_at_every_step(parts_of: Any, pipeline_of: Any, generator_of: Any) -> None:
    parts = parts_of("image", prediction="v_prediction")
    parts["scheduler"] = DDPMScheduler.from_config(parts["scheduler"].config)
    generator = generator_of("image", parts)
    given = {"prompt": PROMPTS, "num_inference_steps": 4, "guidance_scale": 2.0}
    expected = theirs(pipeline_of("image", parts), "image", **given, generator=sources(3, 2))
    got = ours(generator, "image", generator.encode_text(PROMPTS), steps=4, seed=3, guidance_scale=2.0)
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)


def test_defaults_are_those_of_the_pipelines(parts_of: Any, pipeline_of: Any, generator_of: Any) -> None:
    import inspect

    for modality in ("image", "video", "audio"):
        parts = parts_of(modality)
        generator, pipeline = generator_of(modality, parts), pipeline_of(modality, parts)
        said = inspect.signature(type(pipeline).__call__).parameters
        assert generator.default_steps == said["num_inference_steps"].default
        assert generator.default_guidance == said["guidance_scale"].default
        assert generator.scale_factor == pipeline.vae_scale_factor
