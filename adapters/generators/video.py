"""Text to video with a 3D unet (ModelScope text-to-video, Wang et al., 2023, https://arxiv.org/abs/2308.06571).

``damo-vilab/text-to-video-ms-1.7b`` and ``cerspense/zeroscope_v2_576w`` have this architecture: 77 vectors of 1024
values, and Stable Diffusion's decoder for each frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.generators.denoising.arguments import check_sides
from inlay.adapters.generators.denoising.conditioning import cross_attention_width
from inlay.adapters.generators.diffusion import LatentDiffusion
from inlay.adapters.generators.pixels import to_pictures, to_pixels
from inlay.adapters.generators.protocol import GeneratorError, Made, MediaSize
from inlay.adapters.media.video import Video

__all__ = ["TextToVideo", "clip_pixels"]

FRAMES = 16
"""Default length of a clip."""
FPS = 8.0
"""Frames per second, for both models."""


class TextToVideo(LatentDiffusion):
    """``UNet3DConditionModel``, ``AutoencoderKL``; size is ``(frames, height, width)``, the last two in pixels."""

    modality = "video"
    family = "text-to-video"
    pipeline = "TextToVideoSDPipeline"
    reads = "cross_attention"
    default_steps = 50
    default_guidance = 9.0

    def _width(self) -> int:
        return cross_attention_width(self.unet, self.family)

    def latent_shape(self, size: MediaSize = None) -> tuple[int, ...]:
        """``(channels, frames, height / f, width / f)``."""
        sample, factor = self.unet.config.sample_size, self.scale_factor
        own = (sample, sample) if isinstance(sample, int) else tuple(sample)
        given = (FRAMES, own[0] * factor, own[1] * factor) if size is None else check_sides(size, 3, factor)
        return int(self.unet.config.in_channels), given[0], given[1] // factor, given[2] // factor

    def denoised(self, latents: Tensor, step: Tensor, conditioning: Tensor) -> Tensor:
        """The prediction, with cross-attention to the conditioning in every frame."""
        predicted: Tensor = self.unet(latents, step, encoder_hidden_states=conditioning, return_dict=False)[0]
        return predicted

    def stepped(
        self,
        scheduler: Any,
        predicted: Tensor,
        step: Tensor,
        latents: Tensor,
        sources: Sequence[torch.Generator] | None,
    ) -> Tensor:
        """One step, frame by frame: some schedulers support only four dimensions. A clip's frames share its source."""
        count, frames = len(latents), latents.shape[2]
        shared = None if sources is None else [source for source in sources for _ in range(frames)]
        after = super().stepped(scheduler, _frames(predicted), step, _frames(latents), shared)
        return _clips(after, count).transpose(1, 2)

    def decoded(self, latents: Tensor, size: MediaSize = None) -> Tensor:
        """Pixels ``[n, frames, 3, height, width]``."""
        pixels: Tensor = self.vae.decode(_frames(latents) / self.vae.config.scaling_factor, return_dict=False)[0]
        return _clips(pixels, len(latents))

    def media_of(self, values: Tensor, size: MediaSize = None) -> list[Made]:
        """Clips of 8 frames per second."""
        return [Video(tuple(to_pictures(clip)), FPS) for clip in values]

    @torch.no_grad()
    def encode_media(self, media: Sequence[Video]) -> Tensor:
        """Latents ``[n, channels, frames, height / f, width / f]`` of clips of one length and size.

        Raises:
            GeneratorError: no clips, several lengths or sizes, or a size that is not a multiple of ``f``.
        """
        pixels = clip_pixels(media)
        self.latent_shape((pixels.shape[1], pixels.shape[-2], pixels.shape[-1]))
        encoded = self.encoded(pixels.flatten(0, 1))
        return _clips(encoded, len(media)).transpose(1, 2)


def clip_pixels(media: Sequence[Video]) -> Tensor:
    """``[n, frames, 3, height, width]`` between -1 and 1 of clips of one length and size.

    Raises:
        GeneratorError: no clips, or several lengths or sizes.
    """
    lengths = {len(clip.frames) for clip in media}
    if len(lengths) != 1:
        raise GeneratorError(f"expected clips of one length, got {', '.join(map(str, sorted(lengths))) or 'none'}")
    return _clips(to_pixels([frame for clip in media for frame in clip.frames]), len(media))


def _frames(clips: Tensor) -> Tensor:
    """``[n, channels, frames, ...]`` -> ``[n frames, channels, ...]``."""
    return clips.transpose(1, 2).flatten(0, 1)


def _clips(frames: Tensor, count: int) -> Tensor:
    """``[n frames, ...]`` -> ``[n, frames, ...]``."""
    return frames.reshape(count, -1, *frames.shape[1:])
