"""The ImageBind encoder: one vector for an image, a sound or a video. Several modalities share one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from inlay.adapters.encoders.frozen import FrozenEncoder
from inlay.adapters.encoders.image.vision import squares
from inlay.adapters.encoders.imagebind.clips import DEVIATION, MEAN, frames_of_clips, spectrograms, squares_of_clips
from inlay.adapters.encoders.imagebind.config import AudioConfig, Branch, VisionConfig
from inlay.adapters.encoders.imagebind.model import ImageBind
from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.geometry import Geometry
from inlay.adapters.media.modality import Modality

__all__ = ["BRANCH_OF", "ImageBindEncoder"]

BRANCH_OF: dict[Modality, Branch] = {"image": "vision", "video": "vision", "audio": "audio"}
"""Modality -> branch."""

_FILL = (int(255 * MEAN[0]), int(255 * MEAN[1]), int(255 * MEAN[2]))


class ImageBindEncoder(FrozenEncoder):
    """One modality of an ImageBind model.

    Images become squares by the adapter's geometry (``crop`` in the authors' code). Sounds and videos are sampled as in
    :mod:`inlay.adapters.encoders.imagebind.clips`; the geometry is ignored.

    Args:
        model: frozen in place; encoders of other modalities may share it.
        modality: ``"image"``, ``"audio"`` or ``"video"``.
        scaled: multiply the vector of a sound by the model's constant, 20, as the authors' code and ModaVerse do;
            NExT-GPT's fork does not. Images and videos have no such constant.
        averaged: one vector for a sound or a video, the mean over its clips; otherwise one vector per clip, 3 for a
            sound and 15 for a video in the released model (NExT-GPT's second version).
        reach_end: the last clip of a sound or a video ends with it, as ImageBind's authors and ModaVerse do; NExT-GPT
            was trained with clips that start earlier, see :mod:`inlay.adapters.encoders.imagebind.clips`.
        source: the Hub id, or another name from which the same weights can be loaded.
        revision: the commit on the Hub, 40 hex digits.

    Raises:
        EncoderError: the model lacks the branch.
    """

    model: ImageBind

    def __init__(
        self,
        model: ImageBind,
        modality: Modality,
        *,
        scaled: bool = True,
        averaged: bool = True,
        reach_end: bool = True,
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        if modality not in BRANCH_OF:
            raise EncoderError(f"modality: expected one of {', '.join(BRANCH_OF)}, got {modality!r}")
        self.branch = BRANCH_OF[modality]
        model.config.only([self.branch])
        self.model = freeze(model)
        self.modality, self.scaled, self.averaged, self.reach_end = modality, scaled, averaged, reach_end
        self.source, self.revision = source, revision
        self.family, self.width = "imagebind", model.config.width_out
        self.tokens = 1 if averaged else self._clips

    @property
    def _clips(self) -> int:
        """Clips per medium."""
        if self.modality == "audio":
            return self._audio.clips
        return self._vision.clips * self._vision.crops if self.modality == "video" else 1

    @property
    def _vision(self) -> VisionConfig:
        sizes = self.model.config.vision
        if sizes is None:
            raise EncoderError("this ImageBind has no branch vision")
        return sizes

    @property
    def _audio(self) -> AudioConfig:
        sizes = self.model.config.audio
        if sizes is None:
            raise EncoderError("this ImageBind has no branch audio")
        return sizes

    def picks(self, count: int, fps: float) -> list[int]:
        """Indices of the frames that are read of a video of ``count`` frames; see :class:`Encoder`."""
        clips = frames_of_clips(count, fps, self._vision, reach_end=self.reach_end)
        return sorted({index for clip in clips for index in clip})

    def preprocess(self, media: Sequence[Any], geometry: Geometry) -> Tensor:
        """Media of the modality, float32 on the CPU.

        Args:
            media: ``n`` images, sounds or videos.
            geometry: how an image becomes a square.

        Returns:
            ``[n, 3, size, size]``, ``[n, clips, 1, bands, frames]`` or ``[n, clips * crops, 3, frames, size, size]``.
        """
        if self.modality == "image":
            return self._images(media, geometry)
        if self.modality == "audio":
            sound = self._audio
            rows = [spectrograms(item, sound, reach_end=self.reach_end) for item in media]
            return torch.stack(rows) if rows else torch.zeros(0, sound.clips, 1, sound.bands, sound.frames)
        clip = self._vision
        rows = [squares_of_clips(item, clip, reach_end=self.reach_end) for item in media]
        size = clip.image_size
        return torch.stack(rows) if rows else torch.zeros(0, clip.clips * clip.crops, 3, clip.frames, size, size)

    def _images(self, images: Sequence[Image.Image], geometry: Geometry) -> Tensor:
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        # The authors crop with torchvision.
        return (squares(images, self._vision.image_size, geometry, _FILL, "even") - mean) / deviation

    def encode(self, values: Tensor) -> Tensor:
        """Frozen features: the output of :meth:`preprocess` -> ``[n, tokens, width]`` in the model's dtype."""
        if not len(values):
            return torch.zeros(0, self.tokens, self.width, device=self.device, dtype=self.dtype)
        with torch.no_grad():
            placed = values.to(device=self.device, dtype=self.dtype)
            found = self.model.embed(self.branch, placed, scaled=self.scaled, averaged=self.averaged)
            return found if found.ndim == 3 else found[:, None]

    @property
    def trunk(self) -> nn.Module:
        """The modules of this branch; only their weights identify the encoder."""
        return self.model.branch(self.branch)

    @property
    def settings(self) -> dict[str, Any]:
        """Further values that an adapter compares."""
        # Omitted if true, so that the ports of bundles from before this option stay equal.
        spacing = {} if self.reach_end or self.modality == "image" else {"reach_end": False}
        if self.modality == "audio":
            sound = self._audio
            return {
                "clips": sound.clips,
                "clip_seconds": sound.clip_seconds,
                "rate": sound.rate,
                "bands": sound.bands,
                "frames": sound.frames,
                "scale": sound.scale if self.scaled else 1.0,
                **spacing,
            }
        vision = self._vision
        sampled = {"clips": vision.clips, "crops": vision.crops, "clip_seconds": vision.clip_seconds}
        sampled = sampled | {"frames": vision.frames} | spacing if self.modality == "video" else {}
        return {"image_size": vision.image_size, **sampled}
