r"""Log-mel filter bank as Kaldi computes it (Povey et al., 2011, https://kaldi-asr.org/doc/feat.html).

A frame of samples ``x`` becomes ``log(max(M |FFT(w * p)|^2, eps))``: the mean of the frame is subtracted, ``p[t] = x[t]
- 0.97 x[t-1]`` is pre-emphasis (``x[-1] = x[0]``), ``w`` is a window, and ``M`` holds triangular filters of equal width
on the mel scale ``1127 ln(1 + f / 700)`` from 20 Hz to half the rate. Incomplete frames at the end are dropped. The
scale of the samples adds a constant: BEATs uses the range of 16-bit integers, ImageBind -1..1.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, TypeAlias, assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Window", "frame_count", "log_mel"]

Window: TypeAlias = Literal["povey", "hanning"]

_PREEMPHASIS = 0.97
_LOWEST = 20.0
_FLOOR = torch.finfo(torch.float32).eps


def frame_count(samples: int, rate: int, *, frame_ms: float = 25.0, shift_ms: float = 10.0) -> int:
    """Number of complete frames in a number of samples.

    Example:
        >>> frame_count(32_000, 16_000), frame_count(399, 16_000)
        (198, 0)
    """
    length, shift = int(rate * frame_ms / 1000), int(rate * shift_ms / 1000)
    return 0 if samples < length else 1 + (samples - length) // shift


def log_mel(
    samples: Tensor, rate: int, *, bands: int, window: Window = "povey", frame_ms: float = 25.0, shift_ms: float = 10.0
) -> Tensor:
    """Log energies of mel bands.

    Args:
        samples: ``[n]`` float32; a sound shorter than one frame is padded with silence to one frame.
        rate: samples per second, in Hz.
        bands: number of triangular filters.
        window: ``"povey"`` (Kaldi's own, a Hann window to the power of 0.85) or ``"hanning"``.
        frame_ms: length of a frame, in ms.
        shift_ms: distance between the starts of frames, in ms.

    Returns:
        ``[frames, bands]`` float32.

    Example:
        >>> log_mel(torch.zeros(16_000), 16_000, bands=80).shape
        torch.Size([98, 80])
    """
    length, shift = int(rate * frame_ms / 1000), int(rate * shift_ms / 1000)
    samples = F.pad(samples.float(), (0, max(0, length - len(samples))))
    frames = samples.unfold(0, length, shift)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = (frames - _PREEMPHASIS * before) * _window(window, length)
    size = 1 << (length - 1).bit_length()
    power = torch.fft.rfft(frames, n=size).abs().square()
    energies = power[:, : size // 2] @ _triangles(bands, size, rate).T
    logs: Tensor = energies.clamp(min=_FLOOR).log()
    return logs


@lru_cache(maxsize=8)
def _window(window: Window, length: int) -> Tensor:
    raised = torch.hann_window(length, periodic=False, dtype=torch.float64, device="cpu")
    match window:
        case "hanning":
            return raised.float()
        case "povey":
            return raised.pow(0.85).float()
    assert_never(window)


@lru_cache(maxsize=8)
def _triangles(bands: int, size: int, rate: int) -> Tensor:
    """``[bands, size / 2]``: weight of each frequency in each band."""
    corners = torch.linspace(_mel(_LOWEST), _mel(rate / 2), bands + 2, dtype=torch.float64, device="cpu")
    left, centre, right = (part.unsqueeze(1) for part in (corners[:-2], corners[1:-1], corners[2:]))
    mels = 1127.0 * torch.log1p(torch.arange(size // 2, dtype=torch.float64, device="cpu") * rate / size / 700.0)
    rising, falling = (mels - left) / (centre - left), (right - mels) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0.0).float()


def _mel(frequency: float) -> float:
    return 1127.0 * math.log1p(frequency / 700.0)
