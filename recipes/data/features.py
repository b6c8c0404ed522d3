"""Features of frozen encoders, computed once: kept in memory, or on disk for every run that shares a folder.

A frozen encoder gives the same features in every epoch; running it once removes it, and the decoding of media, from
the training loop. Whether that pays depends on sizes, so the cache has a budget: above it the encoders run in the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.messages import MediaPart, media_of
from inlay.adapters.encoders.protocol import Encoder, load_for
from inlay.adapters.media.digest import media_digest
from inlay.adapters.media.image import Geometry
from inlay.adapters.media.modality import Modality
from inlay.recipes.cache.encoders import load_encoder, space_of
from inlay.recipes.cache.facts import pattern_of
from inlay.recipes.cache.fill import Fill, fill
from inlay.recipes.cache.media import check_same, media_key
from inlay.recipes.cache.store import CacheStore
from inlay.recipes.data.sample import Sample

__all__ = ["FeatureCache", "fits_in"]

T = TypeVar("T")
BATCH = 64


class FeatureCache:
    """Features of media by path, for the encoders of one backbone and one geometry.

    Args:
        backbone: whose encoders to use; media of modalities that it lacks are passed over.
        geometry: how a picture, or a frame, becomes a square.
        store: where they are kept on disk; in memory alone if not given.
        memory: bytes that may be kept in memory where there is a store and it cannot be used.
        visits: how often a medium comes in this run, by which a store tells whether it pays.
        show: where what a store says goes.
    """

    def __init__(
        self,
        backbone: Backbone,
        geometry: Geometry,
        store: CacheStore | None = None,
        *,
        memory: int = 2 << 30,
        visits: float = 1.0,
        show: Callable[[str], None] = print,
    ) -> None:
        self.backbone, self.geometry, self.store = backbone, geometry, store
        self.memory, self.visits, self.show = memory, visits, show
        self.used = 0
        """Bytes of the memory that are taken, though there is a store."""
        self.held: dict[tuple[Modality, Path], Tensor] = {}

    def fill(self, samples: Iterable[Sample]) -> bool:
        """Get the features of every medium of the samples that is not held yet.

        Returns:
            Whether all are held; without a store they always are.

        Raises:
            MediaError: a file that cannot be read, by name.
        """
        for modality, paths in _files(samples, self.backbone).items():
            fresh = sorted(path for path in paths if (modality, path) not in self.held)
            if self.store is None:
                for group in _groups(fresh, BATCH):
                    media = [MediaPart(modality, path) for path in group]
                    self._hold(modality, group, self._encode(modality, media))
            elif fresh and not self._find(self.store, modality, fresh):
                return False
        return True

    def _find(self, store: CacheStore, modality: Modality, paths: Sequence[Path]) -> bool:
        """Features out of the store, or into it; the pattern of the adapter's own check among them."""
        started = time.perf_counter()
        media = [MediaPart(modality, path) for path in paths]
        keys = [media_key(store, part) for part in media]
        spent = (time.perf_counter() - started) / len(paths)
        media.append(pattern_of(modality))
        keys.append(media_digest(media[-1].modality, media[-1].source).hex())
        encoder: Encoder = self.backbone.encoder(modality)
        how = Fill(
            what=f"{modality} features",
            group=BATCH,
            visits=self.visits,
            memory=self.memory - self.used,
            digest_seconds=spent,
            show=self.show,
            shape=lambda _: (encoder.tokens, encoder.width),
            # An encoder that is loaded now may turn out to be another one than its files let expect.
            prepare=lambda: space_of(store, load_encoder(encoder), modality, self.geometry),
        )

        def compute(places: Sequence[int]) -> Sequence[Tensor]:
            features = self._encode(modality, [media[place] for place in places])
            for place in places:
                check_same(media[place], keys[place])
            return list(features)

        found = fill(space_of(store, encoder, modality, self.geometry), keys, compute, how)
        if found is None:
            return False
        self.used += how.in_memory
        self._hold(modality, paths, [found[key] for key in keys[: len(paths)]])
        return True

    def _encode(self, modality: Modality, media: Sequence[MediaPart]) -> Tensor:
        encoder: Encoder = self.backbone.encoder(modality)
        loaded = [load_for(encoder, modality, part.source) for part in media]
        return encoder.encode(encoder.preprocess(loaded, self.geometry)).cpu()

    def _hold(self, modality: Modality, paths: Sequence[Path], features: Iterable[Tensor]) -> None:
        self.held.update(zip(((modality, path) for path in paths), features, strict=True))

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
