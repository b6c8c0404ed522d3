"""Rejects options without an effect on the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from inlay.adapters.media.modality import Modality
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.recipe import Recipe
from inlay.recipes.settings.run import BackboneSettings, DataSettings
from inlay.recipes.settings.stage import Stage

__all__ = ["check_reached", "given_options"]

_OF_BUNDLE = ("projector", "projector_options", "shared", "output_projector", "output_options", "signals", "lora")
_OF_LAYOUT = ("template", "geometry", "system", "prompt", "arguments", "tiling")
_LAID = [[name] for name in _OF_LAYOUT]
"""Settings that a run that continues a bundle takes from it."""
_OF_FILES = ("embeddings", "links", "invalid", "format", "columns", "allow_urls", "downscale")
"""Settings of data that only files of the user's own have."""


def given_options(arguments: Iterable[str]) -> list[str]:
    """The names of the options of a command line, without their values.

    Example:
        >>> given_options(["llava", "--seed", "3", "--data.train=a.json"])
        ['seed', 'data.train']
    """
    return [text.partition("=")[0][2:] for text in arguments if text.startswith("--") and len(text) > 2]


def check_reached(
    given: Sequence[str], recipe: Recipe, known: Iterable[str], data: DataSettings, backbone: BackboneSettings
) -> None:
    """Check that every option of the command line and every learning rate has an effect.

    Args:
        given: names of the options, such as ``stages.align.lr.inputs``.
        recipe: parts and stages of the run.
        known: all stages of the system, including skipped ones.
        data: settings of the data.
        backbone: settings of the frozen models.

    Raises:
        SettingsError: names the option, and the reason.
    """
    if backbone.features is not None:
        recipe = recipe.for_encoders((*recipe.modalities, "features"))
    rates = [f"stages.{name}.lr.{part}" for name, stage in recipe.stages.items() for part in stage.lr]
    for option in [*given, *rates]:
        if reason := _why_unread(option, recipe, set(known), data):
            raise SettingsError(f"--{option} has no effect: {reason}; leave it out")


def _why_unread(option: str, recipe: Recipe, known: set[str], data: DataSettings) -> str:
    head, *path = option.split(".")
    if recipe.continues and (head in (*_OF_BUNDLE, "template") or (head == "stages" and path[1:2] in _LAID)):
        return "parts and layout are those of the bundle (--begin)"
    if head == "stages" and path:
        return _of_stage(path, recipe, known)
    if head == "data" and path:
        return _of_data(path[0], data)
    if head in ("output_projector", "output_options", "signals") and not recipe.signals and recipe.output is None:
        return f"{recipe.system} has no output projectors"
    if head == "output_options" and recipe.output is None:
        return "the run has no output projectors (output_projector)"
    if head == "shared" and len(recipe.modalities) < 2:
        return f"{recipe.system} takes in {', '.join(recipe.modalities)} alone"
    kind: Any = path[0].removesuffix("_id") if path else ""
    if head == "backbone" and kind in ("audio", "video") and not recipe.continues and kind not in recipe.modalities:
        return f"{recipe.system} takes in {', '.join(recipe.modalities)} alone"
    return ""


def _of_stage(path: Sequence[str], recipe: Recipe, known: set[str]) -> str:
    name, *fields = path
    if name not in recipe.stages:
        return f"the stage {name} does not run (--order)" if name in known else ""
    stage, field = recipe.stages[name], fields[0] if fields else ""
    if fields == ["optimizer", "warmup"] and stage.optimizer.warmup_steps is not None:
        return f"the stage warms up for {stage.optimizer.warmup_steps} steps (optimizer.warmup_steps)"
    if field == "lr" and len(fields) > 1:
        return _of_part(".".join(fields[1:]), recipe, stage)
    return ""


def _of_part(part: str, recipe: Recipe, stage: Stage) -> str:
    """Why no part of the run has this learning rate. Checks that need the models follow when training starts."""
    if recipe.continues:  # the parts of the bundle are known when it is read
        return ""
    group, _, modality = part.partition(".")
    kind: Any = modality
    made: Sequence[Modality] = tuple(recipe.signals) if recipe.output else ()
    members = {"inputs": recipe.modalities, "outputs": made}.get(part, ())
    if members and all(f"{part}.{member}" in stage.lr for member in members):
        return f"{', '.join(f'{part}.{member}' for member in members)} have their own learning rates"
    if group == "inputs" and modality and kind not in recipe.modalities:
        return f"{recipe.system} takes in {', '.join(recipe.modalities)}"
    if group == "outputs" and (not made or (modality and kind not in made)):
        return f"the run has output projectors for {', '.join(made) or 'nothing'}"
    if group == "lora" and recipe.lora is None:
        return "the run has no LoRA"
    if group == "tokens" and not recipe.signals and not recipe.tokens:
        return "the run has no new tokens"
    return ""


def _of_data(field: str, data: DataSettings) -> str:
    tables = data.annotations is not None or data.test_annotations is not None
    shards = data.align is not None and data.align.suffix.lower() == ".tar"
    if field in ("answers", "pattern") and not tables:
        return "it is for VQA v2, and there are no annotations (--data.annotations, --data.test_annotations)"
    if field == "shuffle" and not (shards or data.streaming):
        return "the run reads no stream: neither shards (--data.align x.tar) nor --data.streaming true"
    if field == "cache_disk_mib" and data.cache_dir is None:
        return "there is no cache folder (--data.cache_dir)"
    if field in _OF_FILES and data.train is None:
        return "the run uses the miniature's data (no --data.train)"
    return ""
