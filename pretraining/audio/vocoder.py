"""The miniature AudioLDM's vocoder: a small HiFi-GAN (https://arxiv.org/abs/2010.05646) without a discriminator.

The loss is the distance between magnitudes at several resolutions (https://arxiv.org/abs/1910.11480). Beeps have no
texture that needs a discriminator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from inlay.recipes.miniature.media.sounds import RATE
from pretraining import training_loop
from pretraining.audio.spectrogram import BANDS, DEVIATION, HOP, MEAN, log_mel, magnitudes
from pretraining.optimizers import scheduled

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

WINDOWS = (256, 512, 1024, 2048)  # samples of the windows of the loss
SEGMENT = 40  # frames of the spectrogram in a step
QUIET = 0.1  # added to magnitudes, so that differences between small ones have little weight
LEARNING_RATE = 2e-3
WARM_UP = 50  # steps


def make_vocoder() -> Any:
    """A `SpeechT5HifiGan` with random weights: 256 samples for each frame of 64 bands."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    spectrograms: dict[str, Any] = {"mel_scale": "htk"}  # not a field of transformers; it records the mel scale
    config = SpeechT5HifiGanConfig(
        model_in_dim=BANDS,
        sampling_rate=RATE,
        upsample_initial_channel=64,
        upsample_rates=[8, 8, 4],
        upsample_kernel_sizes=[16, 16, 8],
        resblock_kernel_sizes=[3, 7],
        resblock_dilation_sizes=[[1, 3], [1, 3]],
        initializer_range=0.05,
        normalize_before=True,
        **spectrograms,
    )
    model = SpeechT5HifiGan(config)
    model.mean.fill_(MEAN)
    model.scale.fill_(DEVIATION)
    return model


def distance(made: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The distance between two sounds, by the magnitudes of their spectra.

    Args:
        made: Generated samples (n, length), the length a multiple of 512.
        wanted: The reference samples, in the same shape.

    Returns:
        The mean distance between the logarithms, and the relative error of the magnitudes; means over the resolutions.
    """
    logarithms, relative = [], []
    for window in WINDOWS:
        a, b = (magnitudes(samples, window, window // 4) for samples in (made, wanted))
        logarithms.append(((a + QUIET).log() - (b + QUIET).log()).abs().mean())
        relative.append(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b))
    return torch.stack(logarithms).mean(), torch.stack(relative).mean()


def train_vocoder(model: Any, draw: Callable[[], Tensor], *, steps: int) -> None:
    """Train in place, on a segment of each sound.

    Args:
        model: A `SpeechT5HifiGan`.
        draw: Returns a new batch of samples (n, length).
        steps: All steps; the rate falls linearly over the second half.
    """
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, betas=(0.8, 0.99), weight_decay=0.0)

    def losses(step: int) -> dict[str, Tensor]:
        del step  # all steps are the same
        wanted = draw()
        mel = log_mel(wanted)
        start = int(torch.randint(mel.shape[1] - SEGMENT + 1, ()))
        made = model(mel[:, start : start + SEGMENT])
        parts = distance(made, wanted[:, start * HOP : (start + SEGMENT) * HOP])
        return dict(zip(("logarithms", "relative"), parts, strict=True))

    training_loop.train(
        model, losses, [scheduled(optimizer, steps=steps, warm_up=WARM_UP, decay=0.5)], steps=steps, report=lambda: None
    )
    model.eval()
