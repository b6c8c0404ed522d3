"""Sounds through the shipped AudioLDM's autoencoder and back, and the diffusion loss that learns from them."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from inlay.adapters.conversation.messages import MadePart
from inlay.adapters.generators.mel import log_mel
from inlay.adapters.loading.generators import load_generator
from inlay.adapters.media.audio import Sound
from inlay.adapters.outputs import TransformerOutput, TransformerOutputConfig
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.judges.generated_media import judge_generated
from inlay.recipes.miniature.media.captions import caption_of
from inlay.recipes.miniature.media.sounds import RATE, render_sound
from inlay.recipes.miniature.media.specs import TONES
from inlay.recipes.objectives.signals.planning import _diffusion_loss
from inlay.recipes.objectives.signals.settings import Signals
from pretraining.audio.spectrogram import log_mel as own_log_mel

HELD_OUT = [tone for tone in TONES if tone.split == "held_out"]


@pytest.fixture(scope="module")
def generator() -> Any:
    return load_generator(backbone_path("audioldm"), dtype=torch.float32)


@pytest.fixture(scope="module")
def sounds() -> list[Sound]:
    return [render_sound(tone, Random(seed)) for seed, tone in enumerate(HELD_OUT)]


def test_spectrograms_are_those_of_its_pretraining(generator: Any, sounds: list[Sound]) -> None:
    samples = torch.from_numpy(np.stack([sound.samples for sound in sounds]))
    torch.testing.assert_close(log_mel(samples, generator.mel), own_log_mel(samples), atol=5e-3, rtol=0)


def test_what_goes_in_comes_out_close_to_itself(generator: Any, sounds: list[Sound]) -> None:
    latents = generator.encode_media(sounds)
    assert latents.shape == (len(sounds), *generator.latent_shape())
    wanted = own_log_mel(torch.from_numpy(np.stack([sound.samples for sound in sounds])))
    with torch.no_grad():
        found = generator.vae.decode(latents / generator.vae.config.scaling_factor).sample[:, 0]
    error = (found - wanted).abs().mean()
    assert error < 0.4
    assert error < 0.25 * (found - wanted.roll(1, dims=0)).abs().mean()
    heard = [
        judge_generated(caption_of(tone), made) for tone, made in zip(HELD_OUT, generator.decode(latents), strict=True)
    ]
    assert sum(mark["right"] for mark in heard if mark) >= 0.8 * len(HELD_OUT)


def test_other_lengths_and_rates_come_to_its_own(generator: Any, sounds: list[Sound]) -> None:
    first = sounds[0]
    short, long = Sound(first.samples[:5000], RATE), Sound(np.tile(first.samples, 3), RATE)
    filled = Sound(np.pad(short.samples, (0, len(first.samples) - 5000)), RATE)
    same = generator.encode_media([filled, first])
    torch.testing.assert_close(generator.encode_media([short, long]), same, atol=1e-4, rtol=1e-4)
    fast = generator.encode_media([Sound(np.repeat(first.samples, 3), 3 * RATE)])
    assert (fast - same[1:]).abs().mean() < 0.2 * (same[0] - same[1]).abs().mean()
    assert generator.encode_media([]).shape == (0, *generator.latent_shape())


def test_the_gradient_of_the_diffusion_loss_reaches_the_output_projector(generator: Any, sounds: list[Sound]) -> None:
    torch.manual_seed(0)
    sizes = {"hidden": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "ffn": 24}
    config = TransformerOutputConfig(width_in=32, signals=2, tokens=1, width_out=generator.width, **sizes)
    projector = TransformerOutput(config)
    model: Any = SimpleNamespace(backbone=SimpleNamespace(generator=lambda _: generator))
    settings = Signals(diffusion=1.0)
    parts = [MadePart("audio", caption_of(tone), sound) for tone, sound in zip(HELD_OUT, sounds, strict=True)]
    states = torch.randn(len(parts), 2, 32)
    losses = []
    optimizer = torch.optim.Adam(projector.parameters(), 3e-3)
    for step in range(15):
        torch.manual_seed(step % 3)  # the same noise again, so that losses compare
        loss = _diffusion_loss(model, settings, "audio", projector(states), parts)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in projector.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < sum(losses[:3])
    assert not any(parameter.grad is not None for parameter in generator.parameters())
