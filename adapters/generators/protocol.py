"""The interface of generators: conditioning in, media out. A backbone accepts any module with these members."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import torch
from PIL import Image
from torch import Tensor, nn

from inlay.adapters.media.audio import Sound
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.video import Video
from inlay.hub.errors import InlayError
from inlay.hub.format.manifest import PortSpec

__all__ = ["Generator", "GeneratorError", "Made", "MediaSize", "Seed", "check_generator"]

Made: TypeAlias = Image.Image | Sound | Video
"""A generated medium."""
Seed: TypeAlias = int | Sequence[int] | None
"""A seed for each medium, from 0 to 2**64 - 1. A single number is the seed of the first medium, and each further one
adds 1. With None the noise is drawn from torch's global generator."""
MediaSize: TypeAlias = tuple[int, ...] | float | None
"""``(height, width)`` of an image in pixels, seconds of a sound, ``(frames, height, width)`` of a clip; None for the
generator's own size."""


class GeneratorError(InlayError):
    """The components of a generator contradict each other, an argument is invalid, or the computation overflowed."""


class Generator(Protocol):
    """A frozen ``nn.Module`` from conditioning to media. Its own text encoder may be left out."""

    @property
    def port(self) -> PortSpec:
        """The interface that an adapter stores and compares when it is attached."""
        ...

    @property
    def modality(self) -> Modality:
        """The generated modality."""
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
        """The device of the weights."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Conditioning ``[n, tokens, width]`` by its own text encoder.

        Raises:
            GeneratorError: the text encoder was not loaded.
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
        size: MediaSize = None,
    ) -> list[Made]:
        """Media from conditioning ``[n, tokens, width]``; None stands for the generator's default."""
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
        """The denoising loss of media under a conditioning, the only argument that gets a gradient."""
        ...


_REQUIRED = ("port", "modality", "tokens", "width", "device", "dtype", "encode_text", "generate", "diffusion_loss")


def check_generator(name: str, generator: object) -> nn.Module:
    """Check that an object implements :class:`Generator` for a modality; no port is computed.

    Args:
        name: the modality.
        generator: any object.

    Returns:
        The same object.

    Raises:
        GeneratorError: it is not an ``nn.Module``, lacks attributes of the protocol, or has another modality.
    """
    kind = type(generator).__name__
    expected = f"generators[{name!r}]: expected an nn.Module that implements inlay.adapters.generators.Generator"
    if not isinstance(generator, nn.Module):
        raise GeneratorError(f"{expected}; {kind} is not an nn.Module")
    lacking = [attribute for attribute in _REQUIRED if inspect.getattr_static(generator, attribute, None) is None]
    if lacking:
        raise GeneratorError(f"{expected}; {kind} has no {', '.join(lacking)}")
    if generator.modality != name:
        raise GeneratorError(f"generators[{name!r}]: expected modality {name!r}, {kind} has {generator.modality!r}")
    return generator
