"""Features of frozen encoders, computed once and kept in memory.

A frozen encoder gives the same features in every epoch; running it once removes it, and the decoding of media, from
the training loop. Whether that pays depends on sizes, so the cache has a budget: above it the encoders run in the loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.encoders.protocol import Encoder
from inlay.adapters.media import Geometry
from inlay.adapters.medium import load_medium
from inlay.adapters.messages import MediaPart, Modality, media_of
from inlay.recipes.data.sample import Sample

__all__ = ["FeatureCache", "fits_in"]

T = TypeVar("T")
BATCH = 64


class FeatureCache:
    """Features of media by path, for the encoders of one backbone and one geometry.

    Args:
        backbone: whose encoders to use; media of modalities that it lacks are passed over.
        geometry: how a picture, or a frame, becomes a square.
    """

    def __init__(self, backbone: Backbone, geometry: Geometry) -> None:
        self.backbone, self.geometry = backbone, geometry
        self.held: dict[tuple[Modality, Path], Tensor] = {}

    def fill(self, samples: Iterable[Sample]) -> None:
        """Encode every medium of the samples that is not held yet.

        Raises:
            MediaError: a file that cannot be read, by name.
        """
        for modality, paths in _files(samples, self.backbone).items():
            encoder: Encoder = self.backbone.encoder(modality)
            for group in _groups(sorted(path for path in paths if (modality, path) not in self.held), BATCH):
                media = [load_medium(MediaPart(modality, path)) for path in group]
                features = encoder.encode(encoder.preprocess(media, self.geometry)).cpu()
                self.held.update(zip(((modality, path) for path in group), features, strict=True))

    def __call__(self, part: MediaPart) -> Tensor:
        """``[tokens, width]`` of one medium."""
        return self.held[part.modality, Path(part.source)]


def fits_in(samples: Sequence[Sample], backbone: Backbone, budget: int) -> bool:
    """Whether the features of all distinct media take at most ``budget`` bytes."""
    needed = 0
    for modality, paths in _files(samples, backbone).items():
        encoder: Encoder = backbone.encoder(modality)
        needed += len(paths) * encoder.tokens * encoder.width * encoder.dtype.itemsize
    return needed <= budget


def _files(samples: Iterable[Sample], backbone: Backbone) -> dict[Modality, set[Path]]:
    """Files by modality, of those that the backbone has an encoder for."""
    found: dict[Modality, set[Path]] = {}
    for sample in samples:
        for part in media_of(sample.messages):
            if part.modality in backbone.encoders:
                found.setdefault(part.modality, set()).add(Path(part.source))
    return found


def _groups(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group
