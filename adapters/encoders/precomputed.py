"""Precomputed features instead of an encoder: sensors, molecules, EEG, satellites, an encoder in another program.

A message names a file, ``{"type": "features", "path": "x.safetensors"}``, whose tensor ``[tokens, width]`` is the input
of the input projector, see :mod:`inlay.adapters.media.features`. No model is loaded or run. On the command line the
sizes are written as ``64x16`` (width 64, 16 tokens), ``64x1-16`` (up to 16 tokens), or with a name for the origin of
the features, ``64x16:eeg-v2``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.media.feature_sizes import FeatureSizes
from inlay.adapters.media.features import Features
from inlay.adapters.media.geometry import Geometry
from inlay.adapters.media.untrusted import MediaError
from inlay.hub.format.manifest import PortSpec

__all__ = ["PRECOMPUTED", "PrecomputedEncoder", "precomputed", "precomputed_as"]

PRECOMPUTED = "precomputed"
"""Family of the port."""


class PrecomputedEncoder(nn.Module):
    """The port of features from files; :func:`precomputed` is its short name.

    Args:
        width: values per token.
        tokens: tokens per medium.
        variable: accept fewer tokens too; zeros are appended.
        source: name of the features' origin, such as ``eeg-v2``. An adapter that was trained on features of
            another name fits with a warning, as it does for another checkpoint of an encoder.

    Raises:
        FeatureSizesError: a size that is not a positive integer, or an unusual name.
    """

    modality: Literal["features"] = "features"
    family = PRECOMPUTED
    revision = None
    _place: Tensor

    def __init__(self, width: int, tokens: int, *, variable: bool = False, source: str | None = None) -> None:
        super().__init__()
        self.sizes = FeatureSizes(width, tokens, variable, source)
        self.width, self.tokens, self.variable, self.source = width, tokens, variable, source
        # Holds the device only; it is not stored.
        self.register_buffer("_place", torch.zeros(()), persistent=False)

    def preprocess(self, media: Sequence[Features], geometry: Geometry) -> Tensor:
        """The values of ``n`` media: ``[n, tokens, width]`` float32; the geometry is ignored.

        Raises:
            MediaError: another width or number of tokens.
        """
        rows = torch.zeros(len(media), self.tokens, self.width)
        for row, medium in zip(rows, media, strict=True):
            tokens, width = medium.values.shape
            if width != self.width or tokens > self.tokens or (tokens < self.tokens and not self.variable):
                counts = f"1 to {self.tokens}" if self.variable else self.tokens
                raise MediaError(
                    f"{medium.name}: expected features [{counts}, {self.width}] ([tokens, width]), got "
                    f"{[tokens, width]}; the sizes are those of precomputed(width, tokens) or --backbone.features"
                )
            row[:tokens] = medium.values
        return rows

    def encode(self, values: Tensor) -> Tensor:
        """The values ``[n, tokens, width]``, moved to the device of the backbone."""
        return values.to(device=self.device, dtype=self.dtype)

    @property
    def device(self) -> torch.device:
        """The device to which the features are moved."""
        return self._place.device

    @property
    def dtype(self) -> torch.dtype:
        """The data type of the features."""
        return torch.float32

    @cached_property
    def port(self) -> PortSpec:
        """The interface that an adapter stores; the name of the source takes the place of a digest of weights."""
        return PortSpec(
            kind="encoder",
            family=self.family,
            width=self.width,
            tokens=self.tokens,
            source=self.source,
            weights=f"sha256:{hashlib.sha256(f'{PRECOMPUTED} {self.source}'.encode()).hexdigest()}",
            settings={"variable": self.variable},
        )


def precomputed(width: int, tokens: int, *, variable: bool = False, source: str | None = None) -> PrecomputedEncoder:
    """Precomputed features instead of an encoder, see :class:`PrecomputedEncoder`.

    Example:
        >>> precomputed(1152, 729, source="siglip-so400m").port.width
        1152
    """
    return PrecomputedEncoder(width, tokens, variable=variable, source=source)


def precomputed_as(sizes: str | PortSpec | PrecomputedEncoder) -> PrecomputedEncoder:
    """The encoder for sizes such as ``64x16``, see :class:`FeatureSizes`, or for the port of a bundle.

    Raises:
        FeatureSizesError: the text has another form.
        EncoderError: the port is that of an encoder with a model.

    Example:
        >>> precomputed_as("64x1-16:eeg-v2").port.tokens
        16
    """
    if isinstance(sizes, PrecomputedEncoder):
        return sizes
    if isinstance(sizes, PortSpec):
        if sizes.family != PRECOMPUTED or sizes.tokens is None:
            raise EncoderError(f"expected a port of the family {PRECOMPUTED!r}, got {sizes.family!r}")
        found = FeatureSizes(sizes.width, sizes.tokens, sizes.settings.get("variable") is True, sizes.source)
    else:
        found = FeatureSizes.parse(sizes)
    return precomputed(found.width, found.tokens, variable=found.variable, source=found.source)
