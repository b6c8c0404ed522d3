"""What a backbone asks of a generator; whatever offers it can stand in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.media.audio import Sound
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.video import Video
from inlay.hub.errors import InlayError
from inlay.hub.format.manifest import PortSpec

__all__ = ["Generator", "GeneratorError", "Made", "Seed", "Size"]

Made: TypeAlias = Image.Image | Sound | Video
"""What comes out."""
Seed: TypeAlias = int | Sequence[int] | None
"""One for each medium; of a single number the second medium has the next one, and so on; None draws anew each time."""
Size: TypeAlias = tuple[int, ...] | float | None
"""Of a picture ``(height, width)`` in pixels, of a sound seconds, of a clip ``(frames, height, width)``."""


class GeneratorError(InlayError):
    """A generator cannot be put together, or cannot do what is asked of it."""


class Generator(Protocol):
    """A frozen ``nn.Module`` from conditioning to media. Its own text encoder may be left out."""

    @property
    def port(self) -> PortSpec:
        """What an adapter has to know of it."""
        ...

    @property
    def modality(self) -> Modality:
        """What it makes."""
        ...

    @property
    def tokens(self) -> int:
        """Vectors of the conditioning."""
        ...

    @property
    def width(self) -> int:
        """Values per vector."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it is."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the conditioning."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Conditioning ``[n, tokens, width]`` by its own text encoder.

        Raises:
            GeneratorError: that was not loaded.
        """
        ...

    def generate(
        self,
        conditioning: Tensor,
        *,
        negative: Tensor | None = None,
        guidance_scale: float | None = None,
        steps: int | None = None,
        seed: Seed = None,
        size: Size = None,
    ) -> list[Made]:
        """Media from ``[n, tokens, width]``; what is not given is the generator's own default."""
        ...

    def diffusion_loss(
        self,
        conditioning: Tensor,
        latents: Tensor,
        *,
        noise: Tensor | None = None,
        timesteps: Tensor | None = None,
        snr_gamma: float | None = None,
    ) -> Tensor:
        """How badly media are denoised under a conditioning; the gradient reaches the conditioning alone."""
        ...
