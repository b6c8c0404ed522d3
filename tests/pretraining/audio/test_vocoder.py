from __future__ import annotations

from random import Random

import torch

from inlay.recipes.miniature.media.sounds import SAMPLES, render_sound
from inlay.recipes.miniature.media.specs import TONES
from pretraining.audio.spectrogram import log_mel, samples_of
from pretraining.audio.vocoder import distance, make_vocoder, train_vocoder


def test_a_frame_gives_as_many_samples_as_it_stands_for() -> None:
    mel = log_mel(samples_of([render_sound(TONES[0], Random(0))]))
    with torch.no_grad():
        assert make_vocoder()(mel).shape == (1, SAMPLES)


def test_a_sound_is_no_way_from_itself_and_far_from_another() -> None:
    one, two = (samples_of([render_sound(tone, Random(0))]) for tone in (TONES[0], TONES[-1]))
    assert max(float(part) for part in distance(one, one)) == 0
    assert min(float(part) for part in distance(one, two)) > 0.1


def test_another_phase_is_near() -> None:
    time = torch.arange(8192) / 16000
    one, two = (torch.sin(2 * torch.pi * 500 * time + phase)[None] for phase in (0.0, 1.0))
    noise = torch.randn(1, 8192, generator=torch.Generator().manual_seed(0))
    assert float(distance(one, two)[1]) < 0.15 < 0.8 < float(distance(one, noise)[1])


def test_it_learns() -> None:
    torch.manual_seed(0)
    samples = samples_of([render_sound(TONES[0], Random(seed)) for seed in range(2)])
    model = make_vocoder()
    before = _relative(model, samples)
    train_vocoder(model, lambda: samples, steps=12)
    assert _relative(model, samples) < before


@torch.no_grad()
def _relative(model: torch.nn.Module, samples: torch.Tensor) -> float:
    return float(sum(distance(model(log_mel(samples)), samples)))
