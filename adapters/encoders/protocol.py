"""What a backbone asks of an encoder; whatever offers it can stand in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.media.image import Geometry
from inlay.hub.format.manifest import PortSpec

__all__ = ["Encoder", "ImageEncoder", "Inputs"]

Inputs: TypeAlias = Tensor | Mapping[str, Tensor]
"""Preprocessed media, every tensor ``[n, ...]``."""


class Encoder(Protocol):
    """A frozen ``nn.Module`` from media of one modality to features.

    Media are pictures (``PIL.Image.Image``, RGB), sounds (:class:`inlay.adapters.media.audio.Sound`) or clips
    (:class:`inlay.adapters.media.video.Video`), of any size, rate and length.
    """

    @property
    def port(self) -> PortSpec:
        """What an adapter has to know of it."""
        ...

    @property
    def family(self) -> str:
        """The architecture, as the port names it."""
        ...

    @property
    def tokens(self) -> int:
        """Features per medium."""
        ...

    @property
    def width(self) -> int:
        """Values per feature."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it is."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        ...

    def preprocess(self, media: Sequence[Any], geometry: Geometry, /) -> Inputs:
        """Media -> what :meth:`encode` takes: one tensor or several, each ``[n, ...]``, on the CPU.

        ``geometry`` says how a picture or a frame becomes a square; an encoder of sounds passes over it.
        """
        ...

    def encode(self, inputs: Any, /) -> Tensor:
        """Frozen features ``[n, tokens, width]``; those of a medium do not depend on what else is in the batch."""
        ...


class ImageEncoder(Encoder, Protocol):
    """An encoder of pictures, which become one tensor. :class:`VisionEncoder` is the usual one."""

    def preprocess(self, images: Sequence[Image.Image], geometry: Geometry, /) -> Tensor:
        """RGB pictures of any size -> what :meth:`encode` takes, ``[n, ...]``."""
        ...

    def encode(self, pixels: Tensor, /) -> Tensor:
        """Frozen features ``[n, tokens, width]``."""
        ...
