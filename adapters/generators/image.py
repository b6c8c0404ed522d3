"""Stable Diffusion 1.5 and 2 (Rombach et al., 2022, https://arxiv.org/abs/2112.10752): text to pictures.

Version 1.5 reads 77 vectors of 768 values and predicts the noise; version 2 reads 77 of 1024 and, in its 768 px
variant, predicts v. Which of the two it is, its scheduler says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.generators.diffusion import LatentDiffusion
from inlay.adapters.generators.pixels import checked_sides, cross_attention_width, to_pictures, to_pixels
from inlay.adapters.generators.protocol import Made, Size

__all__ = ["StableDiffusion"]


class StableDiffusion(LatentDiffusion):
    """``UNet2DConditionModel`` with cross-attention, ``AutoencoderKL``; size is ``(height, width)`` in pixels."""

    modality = "image"
    family = "stable-diffusion"
    reads = "cross_attention"
    default_steps = 50
    default_guidance = 7.5

    def _width(self) -> int:
        return cross_attention_width(self.unet, self.family)

    def latent_shape(self, size: Size = None) -> tuple[int, ...]:
        """``(channels, height / f, width / f)``."""
        sample = self.unet.config.sample_size
        own = (sample, sample) if isinstance(sample, int) else tuple(sample)
        factor = self.scale_factor
        height, width = checked_sides(size, 2, factor) if size is not None else (own[0] * factor, own[1] * factor)
        return int(self.unet.config.in_channels), height // factor, width // factor

    def denoised(self, latents: Tensor, step: Tensor, conditioning: Tensor) -> Tensor:
        """By cross-attention."""
        said: Tensor = self.unet(latents, step, encoder_hidden_states=conditioning, return_dict=False)[0]
        return said

    def decode(self, latents: Tensor, size: Size = None) -> list[Made]:
        """RGB pictures."""
        pixels: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
        return list(to_pictures(pixels))

    @torch.no_grad()
    def encode_media(self, media: Sequence[Image.Image]) -> Tensor:
        """Latents ``[n, channels, height / f, width / f]`` of RGB pictures of one size, the means of the encoder."""
        pixels = to_pixels(media).to(device=self.device, dtype=self.dtype)
        encoded: Tensor = self.vae.encode(pixels).latent_dist.mode() * self.vae.config.scaling_factor
        return encoded
