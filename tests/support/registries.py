"""Registries that tests add to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from inlay.adapters.conversation.templates.registry import TEMPLATES
from inlay.adapters.convert import CONVERTERS
from inlay.adapters.encoders import ENCODERS
from inlay.adapters.export.registry import TARGETS
from inlay.adapters.generators.registry import GENERATORS
from inlay.adapters.inputs import PROJECTORS
from inlay.adapters.outputs import OUTPUTS
from inlay.recipes.data.formats.registry import FORMATS
from inlay.recipes.evaluation.benchmarks.registry import BENCHMARKS
from inlay.recipes.evaluation.metric_registry import METRICS
from inlay.recipes.objectives.preference.losses import registry as losses
from inlay.recipes.rewards.registry import REWARDS
from inlay.recipes.settings import objective
from inlay.recipes.systems.registry import _SYSTEMS

__all__ = ["forgotten"]


@contextmanager
def forgotten() -> Iterator[None]:
    """What is registered and imported inside is forgotten behind it."""
    registries: list[dict[Any, Any]] = [
        *(PROJECTORS, OUTPUTS, ENCODERS, GENERATORS, TEMPLATES, CONVERTERS, TARGETS),
        *(FORMATS, METRICS, BENCHMARKS, REWARDS),
        *(objective._REGISTERED, losses._REGISTERED, _SYSTEMS._registered),
    ]
    known, modules, path = [dict(registry) for registry in registries], set(sys.modules), list(sys.path)
    try:
        yield
    finally:
        for registry, entries in zip(registries, known, strict=True):
            registry.clear()
            registry.update(entries)
        for name in set(sys.modules) - modules:  # What a library imports late stays, since others hold its objects.
            if name.startswith(("own_", "extending_", "train")):
                del sys.modules[name]
        sys.path[:] = path
