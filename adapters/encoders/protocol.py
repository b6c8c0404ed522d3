"""What a backbone asks of an image encoder; whatever offers it can stand in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.media import Geometry
from inlay.hub.manifest import PortSpec

__all__ = ["ImageEncoder"]


class ImageEncoder(Protocol):
    """A frozen ``nn.Module`` from pictures to features. :class:`VisionEncoder` is the usual one."""

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
        """Features per picture."""
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

    def preprocess(self, images: Sequence[Image.Image], geometry: Geometry) -> Tensor:
        """RGB pictures of any size -> what :meth:`encode` takes, ``[n, ...]``."""
        ...

    def encode(self, pixels: Tensor) -> Tensor:
        """Frozen features ``[n, tokens, width]``."""
        ...
