"""The interface of a frozen encoder, and the check that an object implements it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from PIL import Image
from torch import Tensor, nn

from inlay.adapters.media.geometry import Geometry
from inlay.adapters.media.load import Loaded, load_medium
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError
from inlay.hub.format.manifest import PortSpec

__all__ = ["Encoder", "EncoderError", "ImageEncoder", "Inputs", "check_encoder", "load_for"]

Inputs: TypeAlias = Tensor | Mapping[str, Tensor]
"""Preprocessed media, every tensor ``[n, ...]``."""

_REQUIRED = ("port", "family", "tokens", "width", "device", "dtype", "preprocess", "encode")


class EncoderError(InlayError):
    """An encoder cannot be built or registered with the given arguments."""


class Encoder(Protocol):
    """A frozen ``nn.Module`` from media of one modality to features.

    Media are images (``PIL.Image.Image``, RGB), sounds (:class:`inlay.adapters.media.audio.Sound`) or videos
    (:class:`inlay.adapters.media.video.Video`), of any size, rate and length. Features from files have the encoder
    :class:`inlay.adapters.encoders.PrecomputedEncoder`.

    An encoder that reads only a few frames of a clip may have a method ``picks(count, fps)`` besides: the indices of
    these frames in a clip of ``count`` frames. Then no others are kept in memory, and these keep their size;
    :meth:`~inlay.adapters.media.video.Video.frame` gives them.
    """

    @property
    def port(self) -> PortSpec:
        """The interface that an adapter stores and compares when it is attached."""
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
        """The device of the weights and of the features."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the features."""
        ...

    def preprocess(self, media: Sequence[Any], geometry: Geometry, /) -> Inputs:
        """Media -> the input of :meth:`encode`: one tensor or several, each ``[n, ...]``, on the CPU.

        ``geometry`` decides how an image or a video frame becomes a square; audio encoders ignore it.
        """
        ...

    def encode(self, inputs: Any, /) -> Tensor:
        """Frozen features ``[n, tokens, width]``; the features of a medium do not depend on the rest of the batch."""
        ...


class ImageEncoder(Encoder, Protocol):
    """An encoder whose preprocessed images are one tensor. :class:`VisionEncoder` is the usual implementation."""

    def preprocess(self, images: Sequence[Image.Image], geometry: Geometry, /) -> Tensor:
        """RGB images of any size -> the input of :meth:`encode`, ``[n, ...]``."""
        ...

    def encode(self, pixels: Tensor, /) -> Tensor:
        """Frozen features ``[n, tokens, width]``."""
        ...


def load_for(encoder: object, modality: Modality, source: Any) -> Loaded:
    """Load a medium for an encoder; only those frames of a clip that the encoder picks, if it picks any.

    Raises:
        MediaError: it cannot be read.
    """
    return load_medium(modality, source, getattr(encoder, "picks", None) if modality == "video" else None)


def check_encoder(name: str, encoder: object) -> nn.Module:
    """Check that an object implements :class:`Encoder`; no property is evaluated.

    Args:
        name: the modality, for the error.
        encoder: any object.

    Returns:
        The same object.

    Raises:
        EncoderError: it is not an ``nn.Module``, lacks attributes of the protocol, which are named, or has a
            ``modality`` that is another one.
    """
    kind = type(encoder).__name__
    expected = f"encoders[{name!r}]: expected an nn.Module that implements inlay.adapters.encoders.Encoder"
    if not isinstance(encoder, nn.Module):
        raise EncoderError(f"{expected}; {kind} is not an nn.Module")
    # A property such as ``port`` may read all weights, so attributes are looked up without evaluating them.
    lacking = [attribute for attribute in _REQUIRED if inspect.getattr_static(encoder, attribute, None) is None]
    if lacking:
        raise EncoderError(f"{expected}; {kind} has no {', '.join(lacking)}")
    if (own := getattr(encoder, "modality", name)) != name:
        advice = "; FrameEncoder(encoder) applies an image encoder to frames of a clip" if name == "video" else ""
        raise EncoderError(
            f"encoders[{name!r}]: expected an encoder of this modality, {kind} is one of {own!r}{advice}"
        )
    return encoder
