"""CogVideoX (Yang et al., 2024, https://arxiv.org/abs/2408.06072): text to video with a transformer.

A current model under the same port: 226 vectors of 4096 values from T5 stand in one sequence with the patches of a
clip, a 3D autoencoder makes one latent of four frames, and what is predicted is v.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inlay.adapters.generators.diffusion import LatentDiffusion
from inlay.adapters.generators.pixels import checked_sides, to_pictures, to_pixels
from inlay.adapters.generators.protocol import GeneratorError, Made, Size
from inlay.adapters.generators.text import TextEncoder
from inlay.adapters.media.video import Video

__all__ = ["CogVideoX"]

FPS = 8.0


class CogVideoX(LatentDiffusion):
    """``CogVideoXTransformer3DModel``, ``AutoencoderKLCogVideoX``; size is ``(frames, height, width)``.

    Args:
        unet: the transformer, which has the unet's place.
        vae: as of :class:`LatentDiffusion`.
        scheduler: the same, but for a ``CogVideoXDPMScheduler``, which looks at two steps at once.
        text: the same.
        options: the same.
    """

    modality = "video"
    family = "cogvideox"
    reads = "joint_attention"
    default_steps = 50
    default_guidance = 6.0

    def __init__(
        self, unet: nn.Module, vae: nn.Module, scheduler: Any, text: TextEncoder | None = None, **options: Any
    ) -> None:
        super().__init__(unet, vae, scheduler, text, **options)
        longest = int(self.unet.config.max_text_seq_length)
        if self.tokens != longest:
            raise GeneratorError(f"{self.family}: tokens: the transformer reads {longest} vectors, got {self.tokens}")
        if "timestep_back" in inspect.signature(scheduler.step).parameters:
            raise GeneratorError(
                f"{self.family}: {type(scheduler).__name__} looks at two steps at once; use "
                "CogVideoXDDIMScheduler.from_config(scheduler.config)"
            )

    def _width(self) -> int:
        width = getattr(getattr(self.unet, "config", None), "text_embed_dim", None)
        if not isinstance(width, int):
            raise GeneratorError(
                f"{self.family}: expected a CogVideoXTransformer3DModel, got {type(self.unet).__name__}"
            )
        return width

    @property
    def _together(self) -> int:
        """Frames of one latent, but for the first, which has one of its own."""
        return int(self.vae.config.temporal_compression_ratio)

    def latent_shape(self, size: Size = None) -> tuple[int, ...]:
        """``((frames - 1) / 4 + 1, channels, height / f, width / f)``."""
        config, factor = self.unet.config, self.scale_factor
        own = (int(config.sample_frames), config.sample_height * factor, config.sample_width * factor)
        frames, height, width = own if size is None else checked_sides(size, 3, factor * int(config.patch_size))
        if (frames - 1) % self._together:
            raise GeneratorError(
                f"size: expected 1 frame more than a multiple of {self._together}, got {frames} frames"
            )
        return (frames - 1) // self._together + 1, int(config.in_channels), height // factor, width // factor

    def denoised(self, latents: Tensor, step: Tensor, conditioning: Tensor) -> Tensor:
        """By attention over text and patches together."""
        said: Tensor = self.unet(
            latents,
            encoder_hidden_states=conditioning,
            timestep=step.expand(len(latents)),
            image_rotary_emb=self._rotations(latents),
            return_dict=False,
        )[0]
        return said

    def _rotations(self, latents: Tensor) -> tuple[Tensor, Tensor] | None:
        """Of the larger models; the smaller one has positions as embeddings."""
        config = self.unet.config
        if not config.use_rotary_positional_embeddings:
            return None
        if config.patch_size_t is not None:
            raise GeneratorError(f"{self.family}: version 1.5, which joins frames to patches, is not supported")
        from diffusers.models.embeddings import get_3d_rotary_pos_embed

        rows, columns = (side // config.patch_size for side in latents.shape[-2:])
        base = (config.sample_height // config.patch_size, config.sample_width // config.patch_size)
        rotations: Any = get_3d_rotary_pos_embed(
            embed_dim=config.attention_head_dim,
            crops_coords=_crop((rows, columns), base),
            grid_size=(rows, columns),
            temporal_size=latents.shape[1],
            device=latents.device,
        )
        cosines, sines = rotations
        return cosines, sines

    def decode(self, latents: Tensor, size: Size = None) -> list[Made]:
        """Clips of 8 frames per second."""
        scaled = latents.transpose(1, 2) / self.vae.config.scaling_factor
        pixels: Tensor = self.vae.decode(scaled, return_dict=False)[0]
        return [Video(tuple(to_pictures(clip.transpose(0, 1))), FPS) for clip in pixels]

    @torch.no_grad()
    def encode_media(self, media: Sequence[Video]) -> Tensor:
        """Latents ``[n, (frames - 1) / 4 + 1, channels, height / f, width / f]`` of clips of one length and size."""
        clips = torch.stack([to_pixels(clip.frames) for clip in media]).transpose(1, 2)
        encoded = self.vae.encode(clips.to(device=self.device, dtype=self.dtype)).latent_dist.mode()
        latents: Tensor = encoded.transpose(1, 2) * self.vae.config.scaling_factor
        return latents


def _crop(grid: tuple[int, int], base: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where a grid of patches lies in the one of training, as large as it fits, in the middle: its two corners.

    Example:
        >>> _crop((10, 10), (30, 45))
        ((0, 8), (30, 38))
    """
    scale = min(base[0] / grid[0], base[1] / grid[1])
    rows, columns = round(grid[0] * scale), round(grid[1] * scale)
    top, left = round((base[0] - rows) / 2), round((base[1] - columns) / 2)
    return (top, left), (top + rows, left + columns)
