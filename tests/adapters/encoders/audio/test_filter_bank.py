"""The filter bank against Kaldi's own code, and against a sum written out by hand where Kaldi refuses empty bands."""

from __future__ import annotations

import cmath
import math

import kaldi_native_fbank
import numpy as np
import pytest
import torch

from inlay.adapters.encoders.audio import filter_bank
from inlay.adapters.encoders.audio.filter_bank import frame_count, log_mel


def kaldi(samples: torch.Tensor, rate: int, bands: int, window: str) -> np.ndarray:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.window_type = window
    options.frame_opts.samp_freq = rate
    options.mel_opts.num_bins = bands
    options.use_energy = False
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(rate, samples.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(index) for index in range(computer.num_frames_ready)])


@pytest.mark.parametrize("window", ["povey", "hanning"])
@pytest.mark.parametrize(("rate", "bands"), [(16_000, 80), (8_000, 40), (44_100, 64)])
@pytest.mark.parametrize("scale", [0.1, 3000.0])
def test_values_are_those_of_kaldi(rate: int, bands: int, window: str, scale: float) -> None:
    samples = torch.randn(rate // 2, generator=torch.Generator().manual_seed(0)) * scale
    ours = log_mel(samples, rate, bands=bands, window=window)
    np.testing.assert_allclose(ours.numpy(), kaldi(samples, rate, bands, window), atol=3e-4)


def by_hand(samples: list[float], rate: int, bands: int, power: float) -> list[float]:
    """One frame of 25 ms, every sum written out."""
    length, size = len(samples), 512
    mean = sum(samples) / length
    x = [value - mean for value in samples]
    x = [x[t] - 0.97 * x[max(t - 1, 0)] for t in range(length)]
    x = [x[t] * (0.5 - 0.5 * math.cos(2 * math.pi * t / (length - 1))) ** power for t in range(length)]
    spectrum = [
        abs(sum(x[t] * cmath.exp(-2j * math.pi * k * t / size) for t in range(length))) ** 2 for k in range(size // 2)
    ]

    def mel(frequency: float) -> float:
        return 1127 * math.log(1 + frequency / 700)

    low, step = mel(20), (mel(rate / 2) - mel(20)) / (bands + 1)
    found = []
    for band in range(bands):
        shares = [max(0.0, 1 - abs(mel(k * rate / size) - (low + (band + 1) * step)) / step) for k in range(size // 2)]
        energy = sum(share * value for share, value in zip(shares, spectrum, strict=True))
        found.append(math.log(max(energy, 2.0**-23)))
    return found


@pytest.mark.parametrize(("window", "power"), [("hanning", 1.0), ("povey", 0.85)])
def test_bands_without_a_frequency_are_at_the_floor(window: str, power: float) -> None:
    samples = torch.randn(400, generator=torch.Generator().manual_seed(1))
    ours = log_mel(samples, 16_000, bands=128, window=window)
    assert ours.shape == (1, 128)
    expected = by_hand(samples.tolist(), 16_000, 128, power)
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=2e-4)
    assert min(expected) == math.log(2.0**-23)


def test_silence_is_the_floor_and_a_short_sound_one_frame() -> None:
    assert log_mel(torch.zeros(100), 16_000, bands=40).eq(math.log(2.0**-23)).all()
    assert log_mel(torch.zeros(100), 16_000, bands=40).shape == (1, 40)


def test_number_of_frames_is_counted_without_computing_them() -> None:
    for samples in (400, 559, 560, 32_000):
        assert len(log_mel(torch.zeros(samples), 16_000, bands=20)) == frame_count(samples, 16_000)
    assert frame_count(399, 16_000) == 0


def test_a_tone_is_loudest_in_its_own_band() -> None:
    time = torch.arange(16_000) / 16_000
    loudest = [
        int(log_mel(torch.sin(2 * math.pi * f * time), 16_000, bands=80)[50].argmax()) for f in (200, 1000, 4000)
    ]
    step = (1127 * math.log1p(8000 / 700) - 1127 * math.log1p(20 / 700)) / 81
    expected = [round((1127 * math.log1p(f / 700) - 1127 * math.log1p(20 / 700)) / step) - 1 for f in (200, 1000, 4000)]
    assert all(abs(ours - wanted) <= 1 for ours, wanted in zip(loudest, expected, strict=True))


def test_window_and_triangles_stay_on_the_cpu_under_another_default_device() -> None:
    """Apple's GPUs have no float64, in which both are computed."""
    with torch.device("meta"):
        assert filter_bank._window.__wrapped__("povey", 400).device.type == "cpu"
        assert filter_bank._triangles.__wrapped__(80, 512, 16_000).device.type == "cpu"
