from __future__ import annotations

from random import Random

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("diffusers")

from pretraining.diffusion.denoiser_training import TIMES, Plan, make_scheduler, train


def test_the_last_step_is_pure_noise_and_the_target_its_velocity() -> None:
    scheduler = make_scheduler()
    clean, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    last = torch.tensor([TIMES - 1])
    torch.testing.assert_close(scheduler.add_noise(clean, noise, last), noise)
    torch.testing.assert_close(scheduler.get_velocity(clean, noise, last), -clean)


def test_sampling_begins_at_the_last_step() -> None:
    scheduler = make_scheduler()
    scheduler.set_timesteps(12)
    assert int(scheduler.timesteps[0]) == TIMES - 1


def test_a_perfect_denoiser_is_led_to_the_clean_latents() -> None:
    scheduler = make_scheduler()
    scheduler.set_timesteps(12)
    clean = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    for time in scheduler.timesteps:
        kept = scheduler.alphas_cumprod[time]
        noise = (latents - kept.sqrt() * clean) / (1 - kept).sqrt()
        latents = scheduler.step(kept.sqrt() * noise - (1 - kept).sqrt() * clean, time, latents).prev_sample
    torch.testing.assert_close(latents, clean, atol=1e-3, rtol=1e-3)


class _Words(nn.Module):
    """A stand-in for a text encoder: a vector a word."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(3, 2)

    def forward(self, prompts: list[str]) -> Tensor:
        return self.rows(torch.tensor([["", "a", "b"].index(prompt) for prompt in prompts]))


def _denoise(text: nn.Module, denoiser: nn.Module, noisy: Tensor, times: Tensor, prompts: list[str]) -> Tensor:
    return denoiser(torch.cat([noisy, text(prompts), times[:, None] / TIMES], dim=1))


def test_both_learn_and_the_average_of_their_weights_comes_back() -> None:
    torch.manual_seed(0)
    text = _Words()
    denoiser = nn.Sequential(nn.Linear(5, 32), nn.SiLU(), nn.Linear(32, 2))
    latents = torch.tensor([[2.0, -2.0], [-2.0, 2.0]])
    seen: list[float] = []
    before = text.rows.weight.detach().clone()

    def report(text: nn.Module, denoiser: nn.Module) -> None:
        with torch.no_grad():  # at the last time all is noise, so only the prompt tells
            times = torch.full((200,), TIMES - 1)
            made = _denoise(text, denoiser, torch.randn(200, 2), times, ["a"] * 200)
            seen.append(float((made + latents[0]).abs().mean()))

    both = train(
        text,
        denoiser,
        latents,
        lambda number, _: "ab"[number],
        _denoise,
        Plan(steps=250, batch=64, lr=1e-2, text_lr=1e-2),
        Random(0),
        report=report,
    )
    assert seen[-1] < 1.0
    assert not text.rows.weight.equal(before)
    assert not any(parameter.requires_grad for part in both for parameter in part.parameters())
    assert not any(part.training for part in both)
