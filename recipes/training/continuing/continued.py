"""A run that continues a bundle: its adapter and layout, its held-out data, and a second LoRA on its first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from inlay.adapters.adapter import Adapter
from inlay.adapters.bundles.bundle_io import open_bundle
from inlay.hub.format.manifest import OriginSpec
from inlay.recipes.data.formats.read import read_samples
from inlay.recipes.data.rows.media_values import MediaRules
from inlay.recipes.data.rows.sample import DataError, Sample, is_preference
from inlay.recipes.evaluation.eval_data import NoQuestionsError, read_held_out
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job
from inlay.recipes.runs.miniature_data import OBJECTS, own_data
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.training.continuing.second_lora import add_second_lora

__all__ = ["QUESTIONS", "continued", "vocabulary_of", "with_held_out"]

QUESTIONS = "questions"
"""Data set of held-out questions of the run that is continued."""
LORA = "lora"


def continued(job: Job, show: Callable[[str], None]) -> tuple[Adapter, OriginSpec, Job]:
    """The adapter of ``--begin``, its origin, and the job with its layout in every stage.

    Args:
        job: a job whose recipe continues a bundle.
        show: prints a line for the user.

    Raises:
        BundleError: no bundle, or a damaged one.
    """
    begin = job.run.begin
    if begin is None:
        raise SettingsError(f"begin: {job.recipe.system} trains a finished adapter further; give --begin RUN")
    manifest = open_bundle(begin).manifest
    adapter = Adapter.from_pretrained(begin)
    origin = OriginSpec(name=manifest.name, digest=manifest.digest)
    if job.run.name:
        adapter.name = job.run.name
    if job.recipe.second_lora:
        add_second_lora(adapter, job.recipe.second_lora, job.run.seed)
    stages = {}
    for name, stage in job.recipe.stages.items():
        if adapter.lora is None and tuple(stage.lr) == (LORA,):
            stage = replace(stage, lr={"inputs": stage.lr[LORA]})
            show(f"stage {name}: the bundle has no LoRA, so its input projectors train, at {stage.lr['inputs']:g}")
        stages[name] = stage.in_layout(adapter.layout)
    show(f"training {adapter.name!r} ({adapter.system}) of {begin} further, {origin.digest[:19]}")
    return adapter, origin, replace(job, recipe=replace(job.recipe, stages=stages))


def with_held_out(
    samples: Mapping[str, Sequence[Sample]], job: Job, show: Callable[[str], None]
) -> dict[str, Sequence[Sample]]:
    """The samples with held-out questions and captions of the run that is continued, if the user gives none.

    Args:
        samples: the user's data sets.
        job: names the run.
        show: prints a line if its data cannot be read any more.
    """
    found = dict(samples)
    run = job.run.begin
    if run is None or not job.run.evaluate or not run.exists():
        return found
    own = own_data(RunFolder(run).data)
    asked = any(not is_preference(row) for row in samples.get("test", ()))
    try:
        if not asked:
            found[QUESTIONS] = [row for row in read_held_out(run, None, None).samples if not is_preference(row)]
        if own is not None and own.align_test is not None and "align_test" not in found:
            found["align_test"] = read_samples(own.align_test, MediaRules(folder=own.images))
    except NoQuestionsError:
        show(f"{run} has no held-out questions: give --data.test FILE to compare answers before and after the training")
    except (SettingsError, DataError) as error:
        show(f"{run}: the held-out questions cannot be read, so answers before and after are not compared: {error}")
    return {name: rows for name, rows in found.items() if len(rows)}


def vocabulary_of(job: Job) -> ObjectVocabulary | None:
    """The object classes: of ``--data.objects``, or the miniature's for its own pictures; None if they are unknown."""
    if job.data.objects is not None:
        return ObjectVocabulary.coco(job.data.objects)
    begin = job.run.begin if job.recipe.continues else None
    drawn = job.data.train is None or (begin is not None and own_data(RunFolder(begin).data) is not None)
    return ObjectVocabulary.of(OBJECTS) if drawn else None
