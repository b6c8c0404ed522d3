"""What a system needs on this machine: models that are downloaded or not, and extras."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, TypeAlias

from inlay.recipes.runs.job import Job
from inlay.recipes.settings.default_models import MINIATURE, SAME, Sources
from inlay.recipes.systems.load_backbone import PORTS, chosen_sources

__all__ = ["Model", "Place", "extras_of", "models_of"]

Place: TypeAlias = Literal["package", "folder", "cache", "hub", "missing"]
"""Where a model is: in this package, in a folder, in the Hub's cache, only on the Hub, or in a folder that is gone."""
_EXTRAS = {"audio": "audio", "video": "video"}
"""Input modality -> extra that reads its files."""


@dataclass(frozen=True)
class Model:
    """One frozen model of a run."""

    source: str
    place: Place


def models_of(job: Job, cache: Path | None = None) -> dict[str, Model]:
    """Setting -> model.

    Args:
        job: the run.
        cache: the Hub's cache if not its default.
    """
    if job.recipe.continues:  # the bundle names its models
        return {}
    chosen: Sources = chosen_sources(job.backbone, job.recipe.sources)
    named = {field.name: getattr(chosen, field.name) for field in fields(Sources)}
    sources = {name: named[name] for name in (*PORTS, "qformer") if named[name] and named[name] != SAME}
    return {name: Model(source, _place(source, cache)) for name, source in sources.items()}


def extras_of(job: Job) -> list[str]:
    """Extras without which the run cannot read its media or load its models."""
    found = [_EXTRAS[modality] for modality in job.recipe.modalities if modality in _EXTRAS]
    if job.recipe.output is not None and job.recipe.signals:
        found += ["generate", *(_EXTRAS[modality] for modality in job.recipe.signals if modality in _EXTRAS)]
    if job.backbone.quantise is not None:
        found.append("quantised")
    return list(dict.fromkeys(found))


def _place(source: str, cache: Path | None) -> Place:
    if source.startswith(MINIATURE):
        return "package"
    if Path(source).exists():
        return "folder"
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        return "missing"
    from huggingface_hub.constants import HF_HUB_CACHE

    held = Path(HF_HUB_CACHE if cache is None else cache) / f"models--{source.replace('/', '--')}" / "snapshots"
    return "cache" if any(held.glob("*/*.json")) else "hub"
