"""Features of frozen encoders, computed once and kept in memory or in a folder that runs share.

A frozen encoder gives the same features in every epoch. Computing them once removes the encoder, and the decoding of
media, from the training loop. If the features do not fit in a budget, the encoder runs in the loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.core.tiles import Tiler, prepared
from inlay.adapters.encoders.protocol import Encoder, load_for
from inlay.adapters.media.digest import media_digest
from inlay.adapters.media.geometry import Geometry
from inlay.adapters.media.image import MediaError
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.tiling.grid import Grid
from inlay.adapters.media.tiling.registry import tiling_of
from inlay.recipes.data.cache.facts import encoder_facts
from inlay.recipes.data.cache.fill import fill
from inlay.recipes.data.cache.store import CacheStore, Space
from inlay.recipes.data.rows.sample import Sample, input_media

__all__ = ["Caching", "FeatureCache"]

BATCH = 64

_Key: TypeAlias = Path | str
"""A path, or the digest of a medium in memory: the key must not keep the medium itself in memory."""


def _key(part: MediaPart) -> _Key:
    if isinstance(part.source, (str, Path)):
        return Path(part.source)
    return media_digest(part.modality, part.source).hex()


class FeatureCache:
    """Features of media by path or by content, for the encoders of one backbone, one geometry and one tiling.

    Args:
        backbone: has the encoders; media of modalities without an encoder are skipped.
        geometry: how a picture or a frame becomes a square.
        store: the cache on disk; None for memory only.
        tiling: the rule that cuts pictures into squares, see :class:`~inlay.adapters.conversation.layout.Layout`.
        memory: the most bytes of features in memory.
        show: prints a line for the user.
    """

    def __init__(
        self,
        backbone: Backbone,
        geometry: Geometry,
        store: CacheStore | None = None,
        *,
        tiling: str | None = None,
        memory: int = 2 << 30,
        show: Callable[[str], None] = print,
    ) -> None:
        self.tiler: Tiler | None = None
        """For pictures; None if each is one square."""
        if tiling is not None and "image" in backbone.encoders:
            self.tiler = Tiler.of(tiling_of(tiling), backbone.encoder("image"), 1)
        self._grids: dict[_Key, Grid] = {}
        self.backbone, self.geometry, self.store, self.memory, self.show = backbone, geometry, store, memory, show
        self.held: dict[tuple[Modality, _Key], Tensor] = {}
        self._spaces: dict[Modality, Space] = {}
        self._kept = 0

    def __call__(self, part: MediaPart) -> Tensor:
        """The features ``[tokens, width]`` of one medium; of a tiled picture ``[tiles, tokens, width]``."""
        return self.held[part.modality, _key(part)]

    @property
    def in_memory(self) -> int:
        """Bytes of the features that are not mapped from disk."""
        return self._kept if self.store else sum(tensor.nbytes for tensor in self.held.values())

    def fill(self, samples: Iterable[Sample]) -> bool:
        """Load or compute the features of every medium of the samples.

        Returns:
            Whether all are available; if they do not fit, features of earlier calls may have been dropped.

        Raises:
            MediaError: a file cannot be read, or has changed while it was read.
        """
        wanted: dict[tuple[Modality, _Key], Any] = {}
        least, most = 0, self.memory + (self.store.budget if self.store else 0)
        for sample in samples:
            for part in input_media(sample):
                place = part.modality, _key(part)
                if part.modality in self.backbone.encoders and place not in wanted:
                    wanted[place] = part.source
                    least += self._least(part.modality)
            if least > most:  # before the names of the media of millions of rows are in memory
                if self.store:
                    self.show(
                        f"cache: features take more than {most:,} bytes, which cache_disk_mib and cache_mib allow"
                    )
                return False
        needed = self._needed({key: wanted[key] for key in wanted.keys() - self.held.keys()})
        if self.store is None and self.in_memory + needed > self.memory:
            self.held = {place: tensor for place, tensor in self.held.items() if place in wanted}
            if self.in_memory + needed > self.memory:
                return False
        for modality in sorted({modality for modality, _ in wanted}):
            new = sorted((key for key in wanted.keys() - self.held.keys() if key[0] == modality), key=str)
            fresh = {key: wanted[modality, key] for _, key in new}
            if fresh and not self._fill(modality, fresh):
                return False
        return True

    def _needed(self, places: Mapping[tuple[Modality, _Key], Any]) -> int:
        """Bytes of the features of media; a lower bound where that is too much already, so that no header is read."""
        least = sum(self._least(name) for name, _ in places)
        if self.tiler is None or (self.store is None and self.in_memory + least > self.memory):
            return least
        size = {name: self.backbone.encoder(name).dtype.itemsize for name, _ in places}
        return sum(math.prod(self._shape(name, key, source)) * size[name] for (name, key), source in places.items())

    def _least(self, modality: Modality) -> int:
        """The least bytes of the features of one medium: those of a single square."""
        return math.prod(self._one_square(modality)) * int(self.backbone.encoder(modality).dtype.itemsize)

    def _one_square(self, modality: Modality) -> tuple[int, int]:
        encoder: Encoder = self.backbone.encoder(modality)
        return encoder.tokens, encoder.width

    def _shape(self, modality: Modality, key: _Key, source: Any) -> tuple[int, ...]:
        """Shape of the features of a medium; of a picture that is tiled the header is read."""
        if self.tiler is None or modality != "image":
            return self._one_square(modality)
        if key not in self._grids:
            self._grids[key] = self.tiler.grid(source)
        return self._grids[key].tiles, *self._one_square(modality)

    def _fill(self, modality: Modality, sources: Mapping[_Key, Any]) -> bool:
        encoder: Encoder = self.backbone.encoder(modality)
        if self.store and modality not in self._spaces:
            rule = self.tiler.rule if self.tiler and modality == "image" else None
            self._spaces[modality] = self.store.space(encoder_facts(encoder, modality, self.geometry, rule))
        space = self._spaces.get(modality)
        keys = {key: media_digest(modality, source).hex() if space else str(key) for key, source in sources.items()}
        files = {keys[key]: source for key, source in sources.items()}
        places = {name: key for key, name in keys.items()}

        def compute(missing: Sequence[str]) -> Sequence[Tensor]:
            media: list[Any] = [load_for(encoder, modality, files[key]) for key in missing]
            if self.tiler is None or modality != "image":
                features: Sequence[Tensor] = list(encoder.encode(encoder.preprocess(media, self.geometry)).cpu())
            else:
                features = _of_tiles(encoder, self.tiler, media, [self._grids[places[name]] for name in missing])
            for key in missing:
                if space and media_digest(modality, files[key]).hex() != key:
                    raise MediaError(f"{files[key]}: changed while it was read; start again when it is complete")
            return features

        found = fill(
            space,
            {keys[key]: self._shape(modality, key, source) for key, source in sources.items()},
            compute,
            group=BATCH,
            item_bytes=encoder.dtype.itemsize,
            memory=self.memory - self.in_memory,
            what=f"{modality} features",
            show=self.show,
        )
        if found is None:
            return False
        self.held |= {(modality, key): found.tensors[name] for key, name in keys.items()}
        self._kept += found.in_memory
        return True


def _of_tiles(encoder: Encoder, tiler: Tiler, pictures: Sequence[Any], grids: Sequence[Grid]) -> Sequence[Tensor]:
    """Features ``[tiles, tokens, width]`` of each picture, encoded in batches of about as many tiles as pictures."""
    most = max(grid.tiles for grid in grids)
    step = max(1, BATCH // most)
    found: list[Tensor] = []
    for start in range(0, len(pictures), step):
        own = grids[start : start + step]
        features = encoder.encode(prepared(encoder, pictures[start : start + step], "squash", tiler, own)).cpu()
        found += torch.split(features, [grid.tiles for grid in own])
    return found


@dataclass(kw_only=True)
class Caching:
    """The feature caches of one run, one for each geometry and tiling."""

    memory: int
    """The most bytes of features in memory; 0 turns the cache in memory off."""
    store: CacheStore | None = None
    show: Callable[[str], None] = print
    caches: dict[tuple[Geometry, str | None], FeatureCache] = field(default_factory=dict)

    def features(
        self, backbone: Backbone, geometry: Geometry, samples: Sequence[Sample] | None, *, tiling: str | None = None
    ) -> FeatureCache | None:
        """Features of all media of the samples, or None if the encoder has to run in the training loop.

        Args:
            backbone: has the encoders.
            geometry: how a picture or a frame becomes a square.
            samples: None for a stream, whose media are not known beforehand.
            tiling: the rule that cuts pictures into squares, as a layout stores it.

        Raises:
            MediaError: a file cannot be read, or has changed while it was read.
        """
        key = geometry, tiling
        cache = self.caches.pop(key, None)
        cache = cache or FeatureCache(backbone, geometry, self.store, tiling=tiling, show=self.show)
        cache.memory = self.memory - sum(other.in_memory for other in self.caches.values())
        if samples is None or not cache.fill(samples):
            return None
        self.caches[key] = cache
        return cache
