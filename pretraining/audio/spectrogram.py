"""Log-mel spectrograms of the miniature AudioLDM.

Magnitudes of 1024 samples, a step of 256, 64 triangular bands from 0 to 8 kHz on the mel scale, natural logarithm,
like those of HiFi-GAN (https://arxiv.org/abs/2010.05646), but smaller.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from inlay.recipes.miniature.media.sounds import RATE

if TYPE_CHECKING:
    from torch import Tensor

    from inlay.adapters.media.audio import Sound

BANDS = 64
WINDOW = 1024  # samples
HOP = 256  # samples from frame to frame
FLOOR = 1e-5  # the smallest magnitude of a band
MEAN, DEVIATION = -6.4, 1.5  # approximate values, of the logarithms
_HIGHEST = 8000.0  # Hz


def _mel(hertz: float) -> float:
    return 2595.0 * float(np.log10(1 + hertz / 700))


@cache
def bands() -> Tensor:
    """The triangular filters, each of area one: shape (64, 513)."""
    edges = 700 * (10 ** (np.linspace(0.0, _mel(_HIGHEST), BANDS + 2) / 2595) - 1)
    hertz = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    rising = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(triangles).float()


def magnitudes(samples: Tensor, window: int, hop: int) -> Tensor:
    """Magnitudes of the short-time Fourier transform.

    Args:
        samples: (n, length), the length a multiple of `hop`.
        window: Samples of a frame, Hann.
        hop: Samples from frame to frame.

    Returns:
        (n, window / 2 + 1, length / hop).
    """
    padded = torch.nn.functional.pad(samples[:, None], ((window - hop) // 2,) * 2, mode="reflect")[:, 0]
    shape = torch.hann_window(window, device=samples.device)
    transformed = torch.stft(padded, window, hop, window=shape, center=False, return_complex=True)
    return (transformed.real**2 + transformed.imag**2 + 1e-9).sqrt()


def log_mel(samples: Tensor) -> Tensor:
    """Samples (n, length) -> spectrogram (n, length / 256, 64)."""
    return (bands() @ magnitudes(samples, WINDOW, HOP)).clamp(min=FLOOR).log().mT


def samples_of(sounds: list[Sound]) -> Tensor:
    """Sounds of one length and rate as a tensor (n, length)."""
    return torch.from_numpy(np.stack([sound.samples for sound in sounds]))
