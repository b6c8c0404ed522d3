"""Log-mel spectrograms for vocoders: HiFi-GAN's (Kong et al., 2020, https://arxiv.org/abs/2010.05646).

Magnitudes under a Hann window, triangular bands of area one, natural logarithm above a floor. Each frame is centred on
the middle of its hop, so that ``n`` hops of samples give ``n`` frames, from which a vocoder generates ``n`` hops.
AudioLDM's own code centres frames on the beginning of their hop, 5 ms earlier at its sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.audio_utils import mel_filter_bank

from inlay.adapters.generators.protocol import GeneratorError

__all__ = ["MelConfig", "log_mel"]

Scale = Literal["slaney", "htk"]


@dataclass(frozen=True, kw_only=True)
class MelConfig:
    """Settings of a vocoder's spectrograms.

    Its configuration in transformers has only rate, bands and hop; the other defaults are AudioLDM's, unless the same
    file has fields of these names.
    """

    rate: int
    """Samples per second, in Hz."""
    bands: int
    """Values per frame."""
    hop: int
    """Samples between frames."""
    win_length: int = 1024
    """Samples per frame, and size of the Fourier transform."""
    fmin: float = 0.0
    """Lowest frequency, in Hz."""
    fmax: float = 8000.0
    """Highest frequency, in Hz; at most half the rate."""
    mel_scale: Scale = "slaney"
    """Formula of the mel scale: Slaney's, as in librosa, or HTK's."""
    floor: float = 1e-5
    """Lower limit of a band, before the logarithm."""

    def __post_init__(self) -> None:
        if self.mel_scale not in get_args(Scale):
            raise GeneratorError(
                f"vocoder: mel_scale: expected {' or '.join(get_args(Scale))}, got {self.mel_scale!r}; correct its "
                "config.json"
            )
        if min(self.rate, self.bands, self.hop) < 1 or self.win_length < self.hop or self.floor <= 0:
            raise GeneratorError(
                f"vocoder: expected rate, bands and hop from 1, win_length from the hop, floor above 0, got {self}"
            )
        if not 0 <= self.fmin < min(self.fmax, self.rate / 2):
            raise GeneratorError(f"vocoder: expected 0 <= fmin < fmax and half the rate, got {self.fmin}, {self.fmax}")

    @classmethod
    def of_vocoder(cls, config: Any) -> MelConfig:
        """The settings in the configuration of a ``SpeechT5HifiGan``."""
        names = ("win_length", "fmin", "fmax", "mel_scale", "floor")
        held = {name: getattr(config, name) for name in names if hasattr(config, name)}
        hop = math.prod(config.upsample_rates)
        return cls(rate=int(config.sampling_rate), bands=int(config.model_in_dim), hop=hop, **held)


@cache
def _bands(config: MelConfig) -> Tensor:
    """``[bands, win_length / 2 + 1]``."""
    triangles = mel_filter_bank(
        num_frequency_bins=config.win_length // 2 + 1,
        num_mel_filters=config.bands,
        min_frequency=config.fmin,
        max_frequency=min(config.fmax, config.rate / 2),
        sampling_rate=config.rate,
        norm="slaney",
        mel_scale=config.mel_scale,
    )
    return torch.from_numpy(triangles).float().T


def log_mel(samples: Tensor, config: MelConfig) -> Tensor:
    """Samples ``[n, frames * hop]`` between -1 and 1 -> spectrograms ``[n, frames, bands]``, in float32 on the CPU."""
    edge = (config.win_length - config.hop) // 2
    # A signal that is shorter than the padding cannot be reflected.
    mode = "reflect" if edge < samples.shape[-1] else "constant"
    padded = pad(samples.float().cpu()[:, None], (edge, config.win_length - config.hop - edge), mode=mode)[:, 0]
    window = torch.hann_window(config.win_length)
    transformed = torch.stft(padded, config.win_length, config.hop, window=window, center=False, return_complex=True)
    return (_bands(config) @ transformed.abs()).clamp(min=config.floor).log().mT
