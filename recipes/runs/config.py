"""``config.yaml``: every setting of a run, sufficient to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from inlay.recipes.runs.job import Job
from inlay.recipes.settings.stage import Stage

__all__ = ["config_of", "stage_values"]


def config_of(job: Job) -> str:
    """The text of ``config.yaml``; ``inlay train config.yaml`` repeats the run if its system is registered there."""
    recipe = job.recipe
    values = {
        "system": recipe.system,
        "version": recipe.version,
        "size": recipe.size,
        **_plain(asdict(replace(job.run, name=job.name, resume=False, overwrite=False))),
        "backbone": _plain(asdict(job.backbone)),
        "data": _plain(asdict(job.data)),
        "projector": recipe.projector,
        "projector_options": _plain(recipe.projector_options.get(recipe.projector, {})),
        "shared": recipe.shared,
        "output_projector": recipe.output,
        "output_options": _plain(recipe.output_options),
        "signals": _plain(recipe.signals),
        **({"second_lora": recipe.second_lora} if recipe.continues else {}),
        "order": ",".join(recipe.stages),
        "lora": _plain(asdict(recipe.lora)) if recipe.lora else None,
        "stages": {name: stage_values(stage) for name, stage in recipe.stages.items()},
    }
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120))


def stage_values(stage: Stage) -> dict[str, Any]:
    """A stage as plain values; the objective's settings include its name."""
    values: dict[str, Any] = _plain(asdict(stage))
    return {**values, "objective": {"name": stage.objective.name, **values["objective"]}}


def _plain(value: Any) -> Any:
    """Convert values to types that YAML can represent."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
