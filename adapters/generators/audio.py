"""AudioLDM (Liu et al., 2023, https://arxiv.org/abs/2301.12503): sound from one pooled vector.

The unet denoises the latents of a log-mel spectrogram. It has no cross-attention: the conditioning is one CLAP vector
of 512 values, given as class labels and concatenated to the timestep embedding. CLAP's vectors have L2 norm 1, so the
output of an output projector is normalised too; the published pipeline normalises texts only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inlay.adapters.encoders.audio import window
from inlay.adapters.generators.denoising.arguments import check_number
from inlay.adapters.generators.denoising.finite import check_finite
from inlay.adapters.generators.diffusion import LatentDiffusion
from inlay.adapters.generators.mel import MelConfig, log_mel
from inlay.adapters.generators.protocol import GeneratorError, Made, MediaSize
from inlay.adapters.generators.text import TextEncoder
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.audio import Sound

__all__ = ["AudioLdm"]


class AudioLdm(LatentDiffusion):
    """``UNet2DConditionModel`` with class labels, ``AutoencoderKL``, ``SpeechT5HifiGan``; size is in seconds.

    Args:
        unet: as in :class:`LatentDiffusion`.
        vae: as in :class:`LatentDiffusion`.
        vocoder: from log-mel spectrograms to samples.
        scheduler: as in :class:`LatentDiffusion`.
        text: as in :class:`LatentDiffusion`.
        options: as in :class:`LatentDiffusion`; ``tokens`` is 1.
    """

    modality = "audio"
    family = "audioldm"
    pipeline = "AudioLDMPipeline"
    reads = "class_labels"
    default_steps = 10
    default_guidance = 2.5

    def __init__(
        self,
        unet: nn.Module,
        vae: nn.Module,
        vocoder: nn.Module,
        scheduler: Any,
        text: TextEncoder | None = None,
        **options: Any,
    ) -> None:
        super().__init__(unet, vae, scheduler, text, **({"tokens": 1} | options))
        self.vocoder: Any = freeze(vocoder)
        if self.tokens != 1:
            raise GeneratorError(f"{self.family}: tokens: expected 1, a pooled vector, got {self.tokens}")
        if self._bands % self.scale_factor:
            raise GeneratorError(
                f"{self.family}: the vocoder takes {self._bands} mel bands, the decoder gives a multiple of "
                f"{self.scale_factor}; they belong to different models"
            )

    def _width(self) -> int:
        config = self.unet.config
        width = getattr(config, "projection_class_embeddings_input_dim", None)
        if getattr(config, "class_embed_type", None) != "simple_projection" or not isinstance(width, int):
            raise GeneratorError(
                f"{self.family}: expected a unet with class_embed_type 'simple_projection', for a pooled vector, "
                f"got {getattr(config, 'class_embed_type', None)!r}"
            )
        return width

    @property
    def rate(self) -> int:
        """Samples per second, in Hz."""
        return int(self.vocoder.config.sampling_rate)

    @property
    def _bands(self) -> int:
        return int(self.vocoder.config.model_in_dim)

    @property
    def _hop(self) -> float:
        """Seconds of one column of the spectrogram."""
        samples: int = math.prod(self.vocoder.config.upsample_rates)
        return samples / self.rate

    def seconds(self, size: MediaSize = None) -> float:
        """Duration of a sound of this size.

        Raises:
            GeneratorError: not a number, or too short for one latent.
        """
        if size is None:
            return float(self.unet.config.sample_size * self.scale_factor * self._hop)
        shortest = self._hop * self.scale_factor
        return check_number("size", size, shortest, 3600, unit=" seconds")

    def latent_shape(self, size: MediaSize = None) -> tuple[int, ...]:
        """``(channels, columns / f, bands / f)``; whole latents; the sound is cut to its length after decoding."""
        columns = int(self.seconds(size) / self._hop)
        return (
            int(self.unet.config.in_channels),
            math.ceil(columns / self.scale_factor),
            self._bands // self.scale_factor,
        )

    def prepared(self, conditioning: Tensor) -> Tensor:
        """The conditioning with an L2 norm of 1."""
        return F.normalize(conditioning, dim=-1)

    def denoised(self, latents: Tensor, step: Tensor, conditioning: Tensor) -> Tensor:
        """The prediction, with the conditioning as class labels."""
        labels = conditioning.squeeze(1)
        inputs = {"encoder_hidden_states": None, "class_labels": labels, "return_dict": False}
        predicted: Tensor = self.unet(latents, step, **inputs)[0]
        return predicted

    def decoded(self, latents: Tensor, size: MediaSize = None) -> Tensor:
        """Samples ``[n, samples]`` between -1 and 1."""
        spectrograms: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
        # The vocoder ends in tanh, which would make 1 of an infinite value.
        check_finite(spectrograms, f"{self.family}: decoding")
        samples: Tensor = self.vocoder(spectrograms.squeeze(1))
        return samples

    def media_of(self, values: Tensor, size: MediaSize = None) -> list[Made]:
        """Sounds of this size."""
        samples = values[:, : int(self.seconds(size) * self.rate)].float().cpu()
        return [Sound(row.numpy(), self.rate) for row in samples]

    @property
    def mel(self) -> MelConfig:
        """The spectrograms that the vocoder was trained on.

        Raises:
            GeneratorError: the vocoder's configuration is invalid.
        """
        return MelConfig.of_vocoder(self.vocoder.config)

    def encode_media(self, media: Sequence[Sound]) -> Tensor:
        """Latents ``[n, *latent_shape()]`` of sounds, the means of the encoder.

        All have the unet's own length: a longer sound is cut, a shorter one is padded with silence.
        """
        mel, shape = self.mel, self.latent_shape()
        if not media:
            return torch.zeros(0, *shape, device=self.device, dtype=self.dtype)
        samples = shape[1] * self.scale_factor * mel.hop
        rows = np.zeros((len(media), samples), dtype=np.float32)
        for row, sound in zip(rows, media, strict=True):
            kept = window(sound, self.rate, samples)
            row[: len(kept)] = kept
        return self.encode_spectrograms(log_mel(torch.from_numpy(rows), mel))

    @torch.no_grad()
    def encode_spectrograms(self, spectrograms: Tensor) -> Tensor:
        """Latents ``[n, channels, columns / f, bands / f]`` of log-mel spectrograms ``[n, columns, bands]``.

        They must match :attr:`mel`; ``columns`` is a multiple of the decoder's factor.
        """
        return self.encoded(spectrograms.unsqueeze(1))

    def _digested(self) -> nn.Module:
        return nn.ModuleList([self.unet, self.vae, self.vocoder])
