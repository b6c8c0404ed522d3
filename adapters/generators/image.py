"""Stable Diffusion 1.5 and 2 (Rombach et al., 2022, https://arxiv.org/abs/2112.10752): text to images.

Version 1.5 takes 77 vectors of 768 values and predicts epsilon; version 2 takes 77 of 1024 and, in its 768 px variant,
predicts v. The kind of prediction is in the scheduler's configuration.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.generators.denoising.arguments import check_sides
from inlay.adapters.generators.denoising.conditioning import cross_attention_width
from inlay.adapters.generators.diffusion import LatentDiffusion
from inlay.adapters.generators.pixels import to_pictures, to_pixels
from inlay.adapters.generators.protocol import Made, MediaSize

__all__ = ["StableDiffusion"]


class StableDiffusion(LatentDiffusion):
    """``UNet2DConditionModel`` with cross-attention, ``AutoencoderKL``; size is ``(height, width)`` in pixels."""

    modality = "image"
    family = "stable-diffusion"
    pipeline = "StableDiffusionPipeline"
    reads = "cross_attention"
    default_steps = 50
    default_guidance = 7.5

    def _width(self) -> int:
        return cross_attention_width(self.unet, self.family)

    def latent_shape(self, size: MediaSize = None) -> tuple[int, ...]:
        """``(channels, height / f, width / f)``."""
        sample = self.unet.config.sample_size
        own = (sample, sample) if isinstance(sample, int) else tuple(sample)
        factor = self.scale_factor
        height, width = check_sides(size, 2, factor) if size is not None else (own[0] * factor, own[1] * factor)
        return int(self.unet.config.in_channels), height // factor, width // factor

    def denoised(self, latents: Tensor, step: Tensor, conditioning: Tensor) -> Tensor:
        """The prediction, with cross-attention to the conditioning."""
        predicted: Tensor = self.unet(latents, step, encoder_hidden_states=conditioning, return_dict=False)[0]
        return predicted

    def decoded(self, latents: Tensor, size: MediaSize = None) -> Tensor:
        """Pixels ``[n, 3, height, width]``."""
        pixels: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
        return pixels

    def media_of(self, values: Tensor, size: MediaSize = None) -> list[Made]:
        """RGB images."""
        return list(to_pictures(values))

    @torch.no_grad()
    def encode_media(self, media: Sequence[Image.Image]) -> Tensor:
        """Latents ``[n, channels, height / f, width / f]`` of RGB images of one size, the means of the encoder.

        Raises:
            GeneratorError: no images, several sizes, or a size that is not a multiple of ``f``.
        """
        pixels = to_pixels(media)
        self.latent_shape((pixels.shape[-2], pixels.shape[-1]))
        return self.encoded(pixels)
