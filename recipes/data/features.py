"""Features of a frozen encoder, computed once and kept in memory.

A frozen encoder gives the same features in every epoch; running it once removes it, and the decoding of pictures, from
the training loop. Whether that pays depends on sizes, so the cache has a budget: above it the encoder runs in the loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.media import Geometry, load_image
from inlay.adapters.messages import MediaPart, media_of
from inlay.recipes.data.sample import Sample

__all__ = ["FeatureCache", "fits_in"]

T = TypeVar("T")
BATCH = 64


class FeatureCache:
    """Features of images by path, for one encoder and one geometry.

    Args:
        backbone: whose image encoder to use.
        geometry: how a picture becomes a square.
    """

    def __init__(self, backbone: Backbone, geometry: Geometry) -> None:
        self.encoder, self.geometry = backbone.encoder("image"), geometry
        self.held: dict[Path, Tensor] = {}

    def fill(self, samples: Iterable[Sample]) -> None:
        """Encode every image of the samples that is not held yet.

        Raises:
            MediaError: a file that cannot be read, by name.
        """
        paths = {
            Path(part.source) for sample in samples for part in media_of(sample.messages) if part.modality == "image"
        }
        for group in _groups(sorted(paths - set(self.held)), BATCH):
            pixels = self.encoder.preprocess([load_image(path) for path in group], self.geometry)
            self.held.update(zip(group, self.encoder.encode(pixels).cpu(), strict=True))

    def __call__(self, part: MediaPart) -> Tensor:
        """``[tokens, width]`` of one image."""
        return self.held[Path(part.source)]


def fits_in(samples: Sequence[Sample], backbone: Backbone, budget: int) -> bool:
    """Whether the features of all distinct images take at most ``budget`` bytes."""
    encoder = backbone.encoder("image")
    images = {part.source for sample in samples for part in media_of(sample.messages) if part.modality == "image"}
    item = encoder.dtype.itemsize
    return len(images) * encoder.tokens * encoder.width * item <= budget


def _groups(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group
