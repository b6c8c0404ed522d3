"""Facts about the served adapters that the page shows, and by which it offers modalities and settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.bundles.bundle_io import describe
from inlay.adapters.media.modality import GENERATED
from inlay.recipes.serve.engine.models import Models, makes
from inlay.recipes.serve.limits import Limits
from inlay.recipes.systems.generation_options import generation_options

__all__ = ["about"]

_LIMITS = ("request_bytes", "parts", "seconds", "characters", "new_tokens", "most_tokens", "beams", "steps")


def about(models: Models, limits: Limits, *, temperature: float, login: bool) -> dict[str, Any]:
    """Everything that the page reads once, as plain values.

    Args:
        models: the served adapters.
        limits: of requests.
        temperature: of requests that name none.
        login: whether the page has a key, so that a user can sign out.
    """
    return {
        "adapters": [facts_of(name, adapter, models.backbone) for name, adapter in models.adapters.items()],
        "limits": {name: value for name, value in asdict(limits).items() if name in _LIMITS},
        "temperature": temperature,
        "login": login,
    }


def facts_of(name: str, adapter: Adapter, backbone: Backbone) -> dict[str, Any]:
    """The facts about one adapter.

    Args:
        name: in requests.
        adapter: any.
        backbone: its frozen models, which decide about the media that it generates.
    """
    manifest = describe(adapter)
    training = manifest.training
    made, options = makes(adapter, backbone), generation_options(adapter, backbone)
    return {
        "id": name,
        "name": manifest.name,
        "system": manifest.system,
        "reads": [modality for modality in GENERATED if modality in adapter.inputs],
        "generation": {modality: options.get(modality, {}) for modality in made},
        "parameters": sum(part.parameters for part in manifest.parts.values()),
        "bytes": sum(part.size for part in manifest.parts.values()),
        "parts": [
            {"name": part, "kind": spec.kind, "parameters": spec.parameters} for part, spec in manifest.parts.items()
        ],
        "backbone": [
            {"port": port, "family": spec.family, "source": spec.source} for port, spec in manifest.interface.items()
        ],
        "license": manifest.license,
        "training": None if training is None else {"stages": training.stages, "data": training.data},
        "metrics": {} if training is None else training.metrics,
    }
