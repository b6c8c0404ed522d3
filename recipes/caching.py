"""Where the features of a run are kept: in memory, or in the folder that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inlay.adapters.backbone import Backbone
from inlay.adapters.media.geometry import Geometry
from inlay.recipes.cache.encoders import load_encoder
from inlay.recipes.cache.store import CacheStore
from inlay.recipes.data.features import FeatureCache, fits_in
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.settings.stage import Stage

__all__ = ["Caching", "store_at", "visits_of"]


def store_at(folder: Path | None, mib: int, when: str) -> CacheStore | None:
    """The folder of the settings, if they name one.

    Args:
        folder: ``--data.cache_dir``.
        mib: its budget.
        when: ``pays`` or ``always``.
    """
    return None if folder is None else CacheStore(folder, budget=mib << 20, always=when == "always")


@dataclass(kw_only=True)
class Caching:
    """Features of one run, one cache a geometry."""

    memory: int
    """Bytes for features; 0 turns the cache in memory off."""
    store: CacheStore | None = None
    show: Callable[[str], None] = print
    visits: Mapping[str, float] = field(default_factory=dict)
    """Geometry -> how often a medium comes, see :func:`visits_of`."""
    caches: dict[str, FeatureCache] = field(default_factory=dict)

    def features(self, backbone: Backbone, geometry: Geometry, samples: Sequence[Sample] | None) -> FeatureCache | None:
        """Features of all media of the samples, or None where the encoder has to run each time.

        Args:
            backbone: whose encoders to use.
            geometry: how a picture, or a frame, becomes a square.
            samples: None for a stream, of which nobody knows what will come.

        Raises:
            MediaError: a file that cannot be read, by name.
        """
        cache = None if samples is None else self._filled(backbone, geometry, samples)
        if cache is None:
            # The encoders run in the loop, so they are loaded now, and not by each process that decodes media.
            for name in backbone.encoders:
                load_encoder(backbone.encoder(name))
        return cache

    def _filled(self, backbone: Backbone, geometry: Geometry, samples: Sequence[Sample]) -> FeatureCache | None:
        if self.store is None and not fits_in(samples, backbone, self.memory):
            return None
        cache = self.caches.get(geometry)
        if cache is None:
            visits = self.visits.get(geometry, 1.0)
            cache = FeatureCache(backbone, geometry, self.store, memory=self.memory, visits=visits, show=self.show)
        if not cache.fill(samples):
            return None
        self.caches[geometry] = cache
        return cache


def visits_of(stages: Mapping[str, Stage], sizes: Mapping[str, int], *, evaluated: bool) -> dict[str, float]:
    """Geometry -> how often a medium comes in a run: its stages' epochs, and the questions at the end.

    Args:
        stages: by name.
        sizes: samples of each stage; stages that are not named are left out.
        evaluated: whether held-out questions are asked, in the last stage's geometry.

    Example:
        >>> stage = Stage(data="train", template="plain", geometry="crop", lr={"lora": 1e-3}, batch_size=5, epochs=3)
        >>> visits_of({"one": stage}, {"one": 10}, evaluated=True)
        {'crop': 4.0}
    """
    found: dict[str, float] = {}
    for name, stage in stages.items():
        if sizes.get(name):
            seen = stage.steps(sizes[name]) * stage.batch_size / sizes[name]
            found[stage.geometry] = found.get(stage.geometry, 0.0) + seen
    if evaluated and stages:
        last = list(stages.values())[-1].geometry
        found[last] = found.get(last, 0.0) + 1.0
    return found
