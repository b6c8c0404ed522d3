"""Stages of preference tuning for tiny models."""

from __future__ import annotations

from typing import Any

from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.settings.stage import Stage

__all__ = ["stage_of"]


def stage_of(settings: Preference, **fields: Any) -> Stage:
    base: dict[str, Any] = {"data": "train", "template": "vicuna_v1", "geometry": "pad", "objective": settings}
    return Stage(**{**base, "lr": {"inputs": 1e-2, "lora": 1e-2}, "batch_size": 4, "epochs": 1.0, **fields})
