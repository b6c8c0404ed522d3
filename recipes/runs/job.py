"""The settings of a training run, and checks without models and data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inlay.adapters.conversation.templates.registry import TEMPLATES
from inlay.hub.errors import BundleError
from inlay.hub.format.manifest import Manifest, TrainingSpec, manifest_error
from inlay.recipes.data.rows.tables.names import hub_name
from inlay.recipes.runs.backbone import MODELS
from inlay.recipes.runs.begin import check_begin, manifest_of
from inlay.recipes.runs.files import entries_of
from inlay.recipes.settings.default_models import MINIATURE
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.recipe import Recipe
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.settings.stage import AUTO

__all__ = ["NO_INT8", "NO_VALIDATION", "Job", "check_half", "check_job", "check_template", "data_name"]

NO_VALIDATION = (
    "patience, best: these settings need validations, and no stage has held-out data; give --data.test (questions) or "
    "--data.align_test (captions), or leave them out"
)
NO_INT8 = "dtype: int8 needs held-out conversations: give --data.test, and leave evaluate on"
_FOLDERS = ("images", "embeddings")
_PLAIN_FILES = ("objects", "annotations", "test_annotations")
_LOCAL = ("images", "embeddings", "objects")
"""Fields of the data settings that cannot be names on the Hub."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All settings of a run."""

    recipe: Recipe
    run: RunSettings
    backbone: BackboneSettings
    data: DataSettings

    @property
    def name(self) -> str:
        """The name of the adapter: the given one, that of the continued bundle, or that of the run folder."""
        if self.recipe.continues and not self.run.name and self.run.begin is not None:
            manifest = manifest_of(self.run.begin) if self.run.begin.exists() else None
            return self.run.begin.name if manifest is None else manifest.name
        return self.run.name or self.run.output.absolute().name


def check_job(job: Job, *, own_models: bool = False) -> None:
    """Check settings against each other, names against the bundle's schema, and that files exist.

    Args:
        job: the run.
        own_models: whether the caller passes the frozen models, so that the job's models are not used.

    Raises:
        SettingsError: names the setting, the expected value and the given one.
    """
    one = (job.backbone.llm is None) != (job.backbone.image is None)
    if not own_models and one and (job.backbone.image is not None or job.backbone.features is None):
        given, other = ("llm", "image") if job.backbone.image is None else ("image", "llm")
        raise SettingsError(
            f"backbone: --backbone.{given} needs --backbone.{other} too: the embedded models fit only each other; "
            f"--backbone.{other} {getattr(job.recipe.sources, other)} names the embedded one all the same"
        )
    check_begin(job.recipe, job.run.begin, data=job.data.train is not None)
    if job.data.train is None and job.backbone.llm is not None:
        raise SettingsError(
            "data: --data.train is needed with your own backbone (the embedded world is for the miniature)"
        )
    wanting = [name for name, stage in job.recipe.stages.items() if stage.data == "pairs"]
    if wanting and job.data.pairs is None:
        raise SettingsError(
            f"data: stage {wanting[0]} needs --data.pairs: preference pairs, such as those of `inlay pairs`"
        )
    job.data.check_drawn()
    check_template(job)
    if job.run.precision == "bf16-true":
        check_half(job)
    _check_held_out(job)
    _check_names(job)
    files = list(_files(job, own_models))
    for field, path in files:
        if "\0" in str(path) or not path.exists():
            raise SettingsError(f"{field}: {path}: cannot be read: there is no such file or folder")
        name = field.removeprefix("data.")
        if (name in _FOLDERS and path.is_file()) or (name in _PLAIN_FILES and path.is_dir()):
            wanted, given = ("folder", "file") if path.is_file() else ("file", "folder")
            raise SettingsError(f"{field}: {path}: expected a {wanted}, got a {given}")
    for stage in job.recipe.stages.values():
        stage.objective.check_functions()
    if job.run.overwrite and not job.run.resume:
        _check_apart(job.run.output, files)


def check_template(job: Job) -> None:
    """Check the template of the run.

    Raises:
        SettingsError: an unknown one, or one without a stage that would use it.
    """
    asked, stages = job.run.template, job.recipe.stages
    if asked not in (AUTO, *TEMPLATES):
        raise SettingsError(f"template: expected {AUTO} or one of {', '.join(TEMPLATES)}, got {asked!r}")
    if asked != AUTO and not any(stage.template == AUTO for stage in stages.values()):
        raise SettingsError(
            f"template: no stage of {job.recipe.system} leaves its template open; name the stage: "
            f"--stages.{list(stages)[-1]}.template {asked}"
        )


def check_half(job: Job) -> None:
    """Check that a run in bfloat16 has frozen models in bfloat16.

    Raises:
        SettingsError: another data type is chosen for them.
    """
    if job.backbone.dtype not in ("auto", "bfloat16"):
        raise SettingsError(
            f"precision bf16-true needs frozen models in bfloat16, got --backbone.dtype {job.backbone.dtype}; leave "
            "one of them out"
        )


def _check_held_out(job: Job) -> None:
    """Check settings that need held-out data, as far as the settings tell: a run that is continued has its own."""
    run, data = job.run, job.data
    own = data.train is None or job.recipe.continues
    asked = own or data.test or data.test_size or data.make_test
    if run.dtype == "int8" and not (run.evaluate and asked):
        raise SettingsError(NO_INT8)
    if (run.patience or run.best) and not (asked or data.align_test or data.pairs_test):
        raise SettingsError(NO_VALIDATION)


def _check_names(job: Job) -> None:
    """Check the settings that are written into the bundle by the bundle's schema."""
    stages = tuple(job.recipe.stages)
    try:
        training = TrainingSpec(recipe=job.recipe.system, stages=stages, data=data_name(job.data), seed=job.run.seed)
        Manifest(
            system=job.recipe.system,
            name=job.name,
            interface={},
            layout=job.recipe.layout.spec,
            parts={},
            training=training,
        )
    except ValidationError as error:
        problem: BundleError = manifest_error(error, "inlay.json")
        origin = " (from --output, as no --name is given)" if problem.field == "name" and not job.run.name else ""
        raise SettingsError(f"{problem.field}{origin}: not allowed in a bundle: {problem.reason}") from None


def data_name(data: DataSettings) -> str:
    """The name of the data in a bundle."""
    return data.train.name if data.train else "inlay miniature world"


def _files(job: Job, own_models: bool) -> Iterator[tuple[str, Path]]:
    """Files and folders in the settings; patterns of shards and names on the Hub are checked later."""
    for field, value in vars(job.data).items():
        paths: Any = value if isinstance(value, tuple) else (value,)
        for path in paths:
            hub = field not in _LOCAL and isinstance(path, Path) and hub_name(path) is not None
            if isinstance(path, Path) and field != "cache_dir" and "{" not in str(path) and not hub:
                yield f"data.{field}", path
    if job.run.begin is not None and (job.run.begin.is_absolute() or len(job.run.begin.parts) != 2):
        yield "begin", job.run.begin
    for field in () if own_models else MODELS:
        source = getattr(job.backbone, field)
        if source and not source.startswith(MINIATURE) and (source[0] in "./" or source.count("/") > 1):
            yield f"backbone.{field}", Path(source)


def _check_apart(output: Path, files: list[tuple[str, Path]]) -> None:
    """Check that a run reads no file that it replaces."""
    if not output.is_dir():
        return
    replaced = [Path(os.path.realpath(output / name)) for name in entries_of(output)]
    for field, path in files:
        real = Path(os.path.realpath(path))
        if any(real == place or place in real.parents for place in replaced):
            raise SettingsError(
                f"{field}: {path} belongs to the run in {output}, which --overwrite replaces; choose another --output"
            )
