"""Stages whose optimizer and sample settings are given beside the others, as most tests need one or two of them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from inlay.recipes.settings.optimizer import OptimizerSettings
from inlay.recipes.settings.samples import SampleSettings
from inlay.recipes.settings.stage import Stage


def stage_from(**values: Any) -> Stage:
    """A stage; fields of the optimizer and of the samples are put where they belong."""
    own, optimizer, samples = _split(values)
    return Stage(**own, optimizer=OptimizerSettings(**optimizer), samples=SampleSettings(**samples))


def changed(stage: Stage, **values: Any) -> Stage:
    """The stage with other values."""
    own, optimizer, samples = _split(values)
    return replace(
        stage, **own, optimizer=replace(stage.optimizer, **optimizer), samples=replace(stage.samples, **samples)
    )


def _split(values: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [{field.name for field in fields(kind)} for kind in (OptimizerSettings, SampleSettings)]
    own = {name: value for name, value in values.items() if not any(name in names for names in inner)}
    return [own, *({name: value for name, value in values.items() if name in names} for names in inner)]
