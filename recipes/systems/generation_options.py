"""Default options of media generation: steps and guidance scale of the adapter's system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.recipes.settings.default_models import MINIATURE
from inlay.recipes.settings.recipe import Size
from inlay.recipes.systems.registry import SYSTEMS

__all__ = ["generation_options"]


def generation_options(adapter: Adapter, backbone: Backbone, seed: int | None = None) -> dict[Modality, dict[str, Any]]:
    """Options for every modality.

    Args:
        adapter: its system gives the options; an unknown system leaves the generators' defaults.
        backbone: its generators decide between miniature and published options.
        seed: seed of the noise; None for a new one each time.
    """
    found: dict[Modality, dict[str, Any]] = {}
    for modality in GENERATED:
        own: Mapping[str, Any] = {}
        if modality in backbone.generators and adapter.system in SYSTEMS:
            small = str(backbone.generator(modality).port.source).startswith(MINIATURE)
            size: Size = "miniature" if small else "full"
            own = SYSTEMS[adapter.system].recipe(size=size).generation.get(modality, {})
        found[modality] = {**own, **({} if seed is None else {"seed": seed})}
    return found
