"""Text to video with a 3D unet (ModelScope text-to-video, Wang et al., 2023, https://arxiv.org/abs/2308.06571).

``damo-vilab/text-to-video-ms-1.7b`` and ``cerspense/zeroscope_v2_576w`` share it: 77 vectors of 1024 values, Stable
Diffusion's decoder frame by frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.generators.diffusion import LatentDiffusion
from inlay.adapters.generators.pixels import checked_sides, cross_attention_width, to_pictures, to_pixels
from inlay.adapters.generators.protocol import GeneratorError, Made, Size
from inlay.adapters.media.video import Video

__all__ = ["TextToVideo"]

FRAMES = 16
FPS = 8.0
"""Of both models."""


class TextToVideo(LatentDiffusion):
    """``UNet3DConditionModel``, ``AutoencoderKL``; size is ``(frames, height, width)``, the last two in pixels."""

    modality = "video"
    family = "text-to-video"
    reads = "cross_attention"
    default_steps = 50
    default_guidance = 9.0

    def _width(self) -> int:
        return cross_attention_width(self.unet, self.family)

    def latent_shape(self, size: Size = None) -> tuple[int, ...]:
        """``(channels, frames, height / f, width / f)``."""
        sample, factor = self.unet.config.sample_size, self.scale_factor
        own = (sample, sample) if isinstance(sample, int) else tuple(sample)
        given = (FRAMES, own[0] * factor, own[1] * factor) if size is None else checked_sides(size, 3, factor)
        return int(self.unet.config.in_channels), given[0], given[1] // factor, given[2] // factor

    def denoised(self, latents: Tensor, step: Tensor, conditioning: Tensor) -> Tensor:
        """By cross-attention in every frame."""
        said: Tensor = self.unet(latents, step, encoder_hidden_states=conditioning, return_dict=False)[0]
        return said

    def stepped(self, scheduler: Any, said: Tensor, step: Tensor, latents: Tensor, more: dict[str, Any]) -> Tensor:
        """Frame by frame, as some schedulers look at four dimensions only."""
        count = len(latents)
        after = super().stepped(scheduler, _frames(said), step, _frames(latents), more)
        return after.view(count, -1, *after.shape[1:]).transpose(1, 2)

    def decode(self, latents: Tensor, size: Size = None) -> list[Made]:
        """Clips of 8 frames per second."""
        pixels: Tensor = self.vae.decode(_frames(latents) / self.vae.config.scaling_factor, return_dict=False)[0]
        frames, length = to_pictures(pixels), latents.shape[2]
        return [Video(tuple(frames[at : at + length]), FPS) for at in range(0, len(frames), length)]

    @torch.no_grad()
    def encode_media(self, media: Sequence[Video]) -> Tensor:
        """Latents ``[n, channels, frames, height / f, width / f]`` of clips of one length and size."""
        lengths = {len(clip.frames) for clip in media}
        if len(lengths) != 1:
            raise GeneratorError(f"expected clips of one length, got {', '.join(map(str, sorted(lengths))) or 'none'}")
        pixels = to_pixels([frame for clip in media for frame in clip.frames])
        pixels = pixels.to(device=self.device, dtype=self.dtype)
        encoded: Tensor = self.vae.encode(pixels).latent_dist.mode() * self.vae.config.scaling_factor
        return encoded.view(len(media), -1, *encoded.shape[1:]).transpose(1, 2)


def _frames(clips: Tensor) -> Tensor:
    """``[n, channels, frames, ...]`` -> ``[n frames, channels, ...]``."""
    return clips.transpose(1, 2).flatten(0, 1)
