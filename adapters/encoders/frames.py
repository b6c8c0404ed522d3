"""A video as single frames: any image encoder becomes a video encoder.

The video is divided into ``frames`` equal spans, and the frame in the middle of each is encoded; of a video with fewer
frames some are encoded more than once. The features are concatenated in temporal order, or averaged over time for each
token (the spatial features of Video-ChatGPT, https://arxiv.org/abs/2306.05424).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from inlay.adapters.encoders.protocol import EncoderError, ImageEncoder
from inlay.adapters.media.geometry import Geometry
from inlay.adapters.media.video import Video
from inlay.hub.format.manifest import PortSpec

__all__ = ["FrameEncoder", "Pooling", "moments"]

Pooling: TypeAlias = Literal["none", "mean"]


def moments(available: int, wanted: int) -> list[int]:
    """Indices of the frames in the middle of ``wanted`` equal spans.

    Example:
        >>> moments(8, 4), moments(2, 4), moments(5, 5)
        ([1, 3, 5, 7], [0, 0, 1, 1], [0, 1, 2, 3, 4])
    """
    return [(2 * index + 1) * available // (2 * wanted) for index in range(wanted)]


class FrameEncoder(nn.Module):
    """An image encoder that is applied to frames of a video.

    Args:
        encoder: the image encoder.
        frames: number of frames that are encoded.
        pooling: ``"none"`` for ``frames x tokens`` features, ``"mean"`` for as many as an image has.

    Raises:
        EncoderError: ``frames`` is not a positive integer, or the pooling is unknown.
    """

    modality: Literal["video"] = "video"

    def __init__(self, encoder: ImageEncoder, *, frames: int = 8, pooling: Pooling = "none") -> None:
        super().__init__()
        if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
            raise EncoderError(f"frames: expected an integer of at least 1, got {frames!r}")
        if pooling not in ("none", "mean"):
            raise EncoderError(f"pooling: expected 'none' or 'mean', got {pooling!r}")
        self.encoder, self.frames, self.pooling = encoder, frames, pooling
        self.family = encoder.family

    def picks(self, count: int, fps: float) -> list[int]:
        """Indices of the frames that are encoded, of a clip of ``count`` frames; see :class:`Encoder`."""
        return moments(count, self.frames)

    def preprocess(self, videos: Sequence[Video], geometry: Geometry) -> Tensor:
        """Frames of ``n`` videos, each preprocessed by the image encoder: ``[n, frames, ...]``."""
        images = [video.frame(index) for video in videos for index in moments(video.count, self.frames)]
        pixels = self.encoder.preprocess(images, geometry)
        return pixels.view(len(videos), self.frames, *pixels.shape[1:])

    def encode(self, pixels: Tensor) -> Tensor:
        """``[n, frames, ...]`` -> ``[n, frames * tokens, width]``, or ``[n, tokens, width]`` for the mean."""
        if not len(pixels):
            return torch.zeros(0, self.tokens, self.width, device=self.device, dtype=self.dtype)
        with torch.no_grad():
            features = self.encoder.encode(pixels.flatten(0, 1))
            features = features.view(-1, self.frames, *features.shape[1:])
            return features.mean(dim=1) if self.pooling == "mean" else features.flatten(1, 2)

    @property
    def device(self) -> torch.device:
        """The device of the image encoder."""
        return self.encoder.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the features."""
        return self.encoder.dtype

    @property
    def tokens(self) -> int:
        """Features per video."""
        return self.encoder.tokens * (1 if self.pooling == "mean" else self.frames)

    @property
    def width(self) -> int:
        """Values per feature."""
        return self.encoder.width

    @cached_property
    def port(self) -> PortSpec:
        """The image encoder's port, with ``frames`` and ``pooling`` added to its settings."""
        inner = self.encoder.port
        sampled = {"frames": self.frames, "pooling": self.pooling}
        return inner.model_copy(update={"tokens": self.tokens, "settings": {**inner.settings, **sampled}})
