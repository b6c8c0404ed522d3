"""Log-mel spectrograms against filters written out from Slaney's formula, and against tones whose band is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from inlay.adapters.generators import GeneratorError
from inlay.adapters.generators.mel import MelConfig, log_mel

AUDIOLDM = SimpleNamespace(sampling_rate=16000, model_in_dim=64, upsample_rates=[5, 4, 2, 2, 2])


def hertz_of(mel: Any) -> Any:
    """Slaney: 200/3 Hz a mel up to 1000 Hz, then 27 mels for a factor of 6.4."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def edges_of(bands: int, highest: float) -> Any:
    top = 15 + 27 * np.log(highest / 1000) / np.log(6.4)
    return hertz_of(np.linspace(0, top, bands + 2))


def test_a_vocoder_of_audioldm_reads_hops_of_ten_milliseconds() -> None:
    config = MelConfig.of_vocoder(AUDIOLDM)
    assert config == MelConfig(rate=16000, bands=64, hop=160, win_length=1024, fmin=0.0, fmax=8000.0)
    assert log_mel(torch.zeros(2, 1600), config).shape == (2, 10, 64)
    assert log_mel(torch.zeros(1, 320), config).unique().tolist() == pytest.approx([np.log(1e-5)])


def test_spectrograms_are_those_of_the_formula() -> None:
    config = MelConfig.of_vocoder(AUDIOLDM)
    samples = np.random.default_rng(0).standard_normal(1600) * 0.1
    edges, hertz = edges_of(64, 8000.0), np.fft.rfftfreq(1024, 1 / 16000)
    triangles = np.array(
        [np.interp(hertz, edges[n : n + 3], [0, 1, 0]) * 2 / (edges[n + 2] - edges[n]) for n in range(64)]
    )
    padded = np.pad(samples, 432, mode="reflect")
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frames = np.stack([np.abs(np.fft.rfft(padded[n * 160 : n * 160 + 1024] * shape)) for n in range(10)])
    expected = np.log(np.maximum(frames @ triangles.T, 1e-5))
    found = log_mel(torch.from_numpy(samples)[None], config)[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("band", [4, 20, 50])
def test_a_tone_is_loudest_in_its_own_band(band: int) -> None:
    config = MelConfig.of_vocoder(AUDIOLDM)
    tone = np.sin(2 * np.pi * edges_of(64, 8000.0)[band + 1] * np.arange(8000) / 16000)
    assert log_mel(torch.from_numpy(tone)[None], config)[0, 5:-5].argmax(dim=1).unique().tolist() == [band]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"mel_scale": "bark"}, "mel_scale: expected slaney or htk, got 'bark'"),
        ({"win_length": 100}, "win_length from the hop"),
        ({"fmin": 9000.0}, "expected 0 <= fmin < fmax"),
    ],
)
def test_settings_that_cannot_be_are_named(more: dict[str, Any], said: str) -> None:
    with pytest.raises(GeneratorError, match=said):
        MelConfig.of_vocoder(SimpleNamespace(**vars(AUDIOLDM), **more))
