"""The arithmetic of diffusion against closed forms and against diffusers' own schedulers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

from inlay.adapters.generators.denoising.noise import (
    add_noise,
    draw,
    min_snr_weights,
    random_sources,
    target_of,
)
from inlay.adapters.generators.denoising.schedule import prediction_of
from inlay.adapters.generators.protocol import GeneratorError

CPU = torch.device("cpu")


def pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(4, 3, 2, 2, generator=generator) for _ in range(2))
    return clean, noise, torch.tensor([0, 10, 20, 49])


def test_noise_and_velocity_are_those_of_diffusers() -> None:
    scheduler = DDPMScheduler(num_train_timesteps=50)
    clean, noise, steps = pair()
    alphas = scheduler.alphas_cumprod[steps]
    torch.testing.assert_close(add_noise(clean, noise, alphas), scheduler.add_noise(clean, noise, steps))
    torch.testing.assert_close(
        target_of("v_prediction", clean, noise, alphas), scheduler.get_velocity(clean, noise, steps)
    )


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_target_and_the_noised_latents_give_the_clean_ones_back(kind: Any) -> None:
    clean, noise, _ = pair()
    alphas = torch.tensor([0.9, 0.5, 0.3, 0.1])
    kept = alphas.view(-1, 1, 1, 1)
    noised, said = add_noise(clean, noise, alphas), target_of(kind, clean, noise, alphas)
    back = {
        "epsilon": (noised - (1 - kept).sqrt() * said) / kept.sqrt(),
        "v_prediction": kept.sqrt() * noised - (1 - kept).sqrt() * said,
        "sample": said,
    }[kind]
    torch.testing.assert_close(back, clean)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weighs_the_error_of_the_clean_latents(kind: Any) -> None:
    # An error of the prediction is an error of x_0, by a factor: the weighted squared errors must be equal.
    alphas = torch.tensor([0.99, 0.9, 0.5, 0.1])
    ratio = alphas / (1 - alphas)
    factor = {"epsilon": (1 - alphas) / alphas, "v_prediction": 1 - alphas, "sample": torch.ones(4)}[kind]
    torch.testing.assert_close(min_snr_weights(alphas, kind, 5.0), ratio.clamp(max=5.0) * factor)


def test_large_gamma_weighs_epsilon_evenly() -> None:
    assert min_snr_weights(torch.tensor([0.2, 0.9]), "epsilon", 1e9).tolist() == [1.0, 1.0]


def test_a_scheduler_says_what_is_predicted() -> None:
    assert prediction_of(DDPMScheduler(prediction_type="v_prediction")) == "v_prediction"
    assert prediction_of(SimpleNamespace(config=SimpleNamespace(), alphas_cumprod=None)) == "epsilon"
    with pytest.raises(GeneratorError, match="flow"):
        prediction_of(SimpleNamespace(config=SimpleNamespace(prediction_type="flow")))


def test_a_medium_has_the_same_noise_alone_and_in_a_batch() -> None:
    two = draw((2, 3), random_sources(7, 2), device=CPU, dtype=torch.float32)
    one = draw((1, 3), random_sources(8, 1), device=CPU, dtype=torch.float32)
    assert torch.equal(two[1:], one)
    listed = draw((2, 3), random_sources([8, 7], 2), device=CPU, dtype=torch.float32)
    assert torch.equal(listed.flip(0), two)
    assert random_sources(None, 2) is None
    with pytest.raises(GeneratorError, match="2 of them for 2 media, got 3"):
        random_sources([1, 2, 3], 2)
