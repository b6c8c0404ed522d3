"""The loop and the training loss never wait for the device: on the meta device, reading a value raises an error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler
from tiny_diffusion import scheduler as tiny_scheduler

from inlay.adapters.generators.denoising.sampling import denoise
from inlay.adapters.generators.denoising.schedule import scheduler_for

MODALITIES = ["image", "audio", "video"]


@pytest.mark.parametrize("kind", [DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("modality", MODALITIES)
def test_one_value_is_read_and_that_after_the_last_step(
    generator_of: Any, monkeypatch: Any, modality: str, kind: Any
) -> None:
    generator = generator_of(modality).to("meta")
    steps = []
    whole = type(generator).denoised

    def counted(*args: Any) -> torch.Tensor:
        steps.append(1)
        predicted: torch.Tensor = whole(*args)
        return predicted

    monkeypatch.setattr(type(generator), "denoised", counted)
    scheduler = scheduler_for(tiny_scheduler(kind), 8)
    conditioning = torch.zeros(2, generator.tokens, generator.width, device="meta")
    latents = torch.zeros(2, *generator.latent_shape(), device="meta")
    with pytest.raises(RuntimeError, match="meta"):
        denoise(generator, scheduler, latents, conditioning, conditioning, scale=5.0, sources=None)
    assert len(steps) == len(scheduler.timesteps)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_training_loss_reads_no_value(generator_of: Any, modality: str) -> None:
    generator = generator_of(modality).to("meta")
    conditioning = torch.zeros(2, generator.tokens, generator.width, device="meta", requires_grad=True)
    loss = generator.diffusion_loss(conditioning, torch.zeros(2, *generator.latent_shape()), snr_gamma=5.0)
    loss.backward()
    assert conditioning.grad is not None
