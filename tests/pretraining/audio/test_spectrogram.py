from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch

from inlay.recipes.miniature.media.sounds import HERTZ, RATE, SAMPLES, render_sound
from inlay.recipes.miniature.media.specs import PITCHES, Tone
from pretraining.audio.spectrogram import BANDS, FLOOR, HOP, bands, log_mel, magnitudes, samples_of


def test_a_frame_is_the_fourier_transform_of_its_window() -> None:
    samples = torch.randn(1, 4096, generator=torch.Generator().manual_seed(0))
    found = magnitudes(samples, 512, 128)
    assert found.shape == (1, 257, 32)
    start = 10 * 128 - (512 - 128) // 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    expected = np.abs(np.fft.rfft(samples[0, start : start + 512].numpy() * window))
    np.testing.assert_allclose(found[0, :, 10].numpy(), expected, rtol=1e-3, atol=1e-3)


def test_bands_are_triangles_of_area_one() -> None:
    triangles = bands()
    assert triangles.shape == (BANDS, 513)
    areas = triangles.sum(1) * (RATE / 2) / 512
    assert areas[20:].numpy() == pytest.approx(1, rel=0.05)
    peaks = triangles.argmax(1)
    assert (peaks[1:] >= peaks[:-1]).all()


@pytest.mark.parametrize("pitch", PITCHES)
def test_the_loudest_band_is_that_of_the_pitch(pitch: str) -> None:
    mel = log_mel(samples_of([render_sound(Tone("one long", pitch, "pure"), Random(0))]))
    assert mel.shape == (1, SAMPLES // HOP, BANDS)
    loudest = bands()[int(mel[0, 40].argmax())]
    hertz = np.linspace(0, RATE / 2, 513)[int(loudest.argmax())]
    assert hertz == pytest.approx(HERTZ[pitch], rel=0.1)


def test_silence_is_the_floor() -> None:
    assert torch.allclose(log_mel(torch.zeros(1, 4096)), torch.full((1, 16, BANDS), FLOOR).log(), atol=4.5)
    assert torch.isfinite(log_mel(torch.zeros(1, 4096))).all()
