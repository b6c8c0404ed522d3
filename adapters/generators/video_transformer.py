"""CogVideoX (Yang et al., 2024, https://arxiv.org/abs/2408.06072): text to video with a transformer.

226 vectors of 4096 values from T5 form one sequence with the patches of a clip, a 3D autoencoder compresses four frames
into one latent, and the prediction is v.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inlay.adapters.generators.denoising.arguments import check_sides
from inlay.adapters.generators.diffusion import LatentDiffusion
from inlay.adapters.generators.pixels import to_pictures
from inlay.adapters.generators.protocol import GeneratorError, Made, MediaSize
from inlay.adapters.generators.text import TextEncoder
from inlay.adapters.generators.video import clip_pixels
from inlay.adapters.media.video import Video

__all__ = ["CogVideoX"]

FPS = 8.0
"""Frames per second."""


class CogVideoX(LatentDiffusion):
    """``CogVideoXTransformer3DModel``, ``AutoencoderKLCogVideoX``; size is ``(frames, height, width)``.

    Args:
        unet: the transformer, which replaces the unet.
        vae: as in :class:`LatentDiffusion`.
        scheduler: as in :class:`LatentDiffusion`, except a ``CogVideoXDPMScheduler``, which needs two predictions in
            each step.
        text: as in :class:`LatentDiffusion`.
        options: as in :class:`LatentDiffusion`.
    """

    modality = "video"
    family = "cogvideox"
    pipeline = "CogVideoXPipeline"
    reads = "joint_attention"
    default_steps = 50
    default_guidance = 6.0

    def __init__(
        self, unet: nn.Module, vae: nn.Module, scheduler: Any, text: TextEncoder | None = None, **options: Any
    ) -> None:
        super().__init__(unet, vae, scheduler, text, **options)
        longest = int(self.unet.config.max_text_seq_length)
        if self.tokens != longest:
            raise GeneratorError(f"{self.family}: tokens: the transformer takes {longest} vectors, got {self.tokens}")
        if "timestep_back" in inspect.signature(scheduler.step).parameters:
            raise GeneratorError(
                f"{self.family}: {type(scheduler).__name__} needs the predictions of two steps; use "
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
        """Frames in one latent; the first frame has a latent of its own."""
        return int(self.vae.config.temporal_compression_ratio)

    def latent_shape(self, size: MediaSize = None) -> tuple[int, ...]:
        """``((frames - 1) / 4 + 1, channels, height / f, width / f)``."""
        config, factor = self.unet.config, self.scale_factor
        own = (int(config.sample_frames), config.sample_height * factor, config.sample_width * factor)
        frames, height, width = own if size is None else check_sides(size, 3, factor * int(config.patch_size))
        if (frames - 1) % self._together:
            raise GeneratorError(
                f"size: expected 1 frame more than a multiple of {self._together}, got {frames} frames"
            )
        if getattr(config, "use_learned_positional_embeddings", False) and (frames, height, width) != own:
            raise GeneratorError(
                f"size: this model has learned positions for {own} only, got {(frames, height, width)}"
            )
        return (frames - 1) // self._together + 1, int(config.in_channels), height // factor, width // factor

    def denoised(self, latents: Tensor, step: Tensor, conditioning: Tensor) -> Tensor:
        """The prediction, with attention over text and patches together."""
        predicted: Tensor = self.unet(
            latents,
            encoder_hidden_states=conditioning,
            timestep=step.expand(len(latents)),
            image_rotary_emb=self._rotations(latents),
            return_dict=False,
        )[0]
        return predicted

    def _rotations(self, latents: Tensor) -> tuple[Tensor, Tensor] | None:
        """Rotary positions, of the larger models; the smaller one adds position embeddings."""
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

    def decoded(self, latents: Tensor, size: MediaSize = None) -> Tensor:
        """Pixels ``[n, 3, frames, height, width]``."""
        scaled = latents.transpose(1, 2) / self.vae.config.scaling_factor
        pixels: Tensor = self.vae.decode(scaled, return_dict=False)[0]
        return pixels

    def media_of(self, values: Tensor, size: MediaSize = None) -> list[Made]:
        """Clips of 8 frames per second."""
        return [Video(tuple(to_pictures(clip.transpose(0, 1))), FPS) for clip in values]

    @torch.no_grad()
    def encode_media(self, media: Sequence[Video]) -> Tensor:
        """Latents ``[n, (frames - 1) / 4 + 1, channels, height / f, width / f]`` of clips of one length and size.

        Raises:
            GeneratorError: no clips, several lengths or sizes, or a size that the model cannot generate.
        """
        pixels = clip_pixels(media)
        self.latent_shape((pixels.shape[1], pixels.shape[-2], pixels.shape[-1]))
        return self.encoded(pixels.transpose(1, 2)).transpose(1, 2)


def _crop(grid: tuple[int, int], base: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two corners of a grid of patches, scaled up to fit into the grid of training and centred there.

    Example:
        >>> _crop((10, 10), (30, 45))
        ((0, 8), (30, 38))
    """
    scale = min(base[0] / grid[0], base[1] / grid[1])
    rows, columns = round(grid[0] * scale), round(grid[1] * scale)
    top, left = round((base[0] - rows) / 2), round((base[1] - columns) / 2)
    return (top, left), (top + rows, left + columns)
