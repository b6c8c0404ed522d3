"""Train a system: all stages in order, the bundle, and the held-out table. Lightning runs the training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any, Literal

from inlay.adapters.backbone import Backbone
from inlay.adapters.loading.files.checkpoint import only_safetensors
from inlay.hub.format.manifest import TrainingSpec
from inlay.recipes.data.load import sets_of, shards_of
from inlay.recipes.distributed.launch import check_processes, start_again
from inlay.recipes.distributed.ranks import first, first_shows, is_first, joined, started_with
from inlay.recipes.evaluation.metric_registry import check_metric_name
from inlay.recipes.objectives.plan import Task
from inlay.recipes.runs.config import config_of
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job, check_job, data_name
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.plain_yaml import parse_yaml
from inlay.recipes.settings.precision import settle
from inlay.recipes.training.callbacks import LabelAudit
from inlay.recipes.training.checks.rehearsal import rehearse
from inlay.recipes.training.continuing.alignment_check import caption_figures, caption_lines
from inlay.recipes.training.extras import Extras
from inlay.recipes.training.final_table import gated_int8
from inlay.recipes.training.prepare import Prepared, prepare
from inlay.recipes.training.trainer import Fitted, fit
from inlay.recipes.training.validation import answer_check

__all__ = ["Job", "train"]

PACKAGES = ("inlay", "torch", "transformers", "lightning")


def train(
    job: Job,
    show: Callable[[str], None] = print,
    *,
    backbone: Backbone | None = None,
    extras: Extras | None = None,
) -> dict[str, Any]:
    """Run every stage, save the bundle, and evaluate it.

    With ``devices`` above 1, the calling program is started once per device, and exits when these processes exit.

    Args:
        job: recipe, settings, data and models.
        show: prints a line for the user.
        backbone: loaded frozen models, instead of those of the job.
        extras: the user's callbacks, loggers, Trainer arguments and optimizer.

    Returns:
        The content of ``metrics.json``; empty in all processes but the first.

    Raises:
        SettingsError: settings contradict each other, or the output folder has an earlier run and neither ``resume``
            nor ``overwrite`` is set.
        MetricError: unknown metric.
        SystemExit: the processes of ``devices`` have exited.
    """
    check_job(job, own_models=backbone is not None)
    check_metric_name(job.run.metric)
    if job.run.devices > 1 and started_with() == 1:
        check_processes(job.run, job.recipe.stages, job.run.devices)
        RunFolder.check(job.run)
        start_again(job.run.devices)
    with joined(job.run.accelerator):
        precision = first(partial(settle, job.run.precision, job.run.accelerator))
        job = replace(job, run=replace(job.run, precision=precision))
        config = config_of(job)
        folder = RunFolder(job.run.output)
        again, why = first(partial(_check_folder, job, config))
        show = first_shows(show)
        if why:
            show(why)
        with folder.writing(job.run, config, show, again) as begin:
            chosen = extras or Extras(logger=job.run.logger.split(","))
            # Objectives load models of their own (BERT).
            with only_safetensors(job.backbone.safetensors_only):
                return _train(job, show, backbone, folder, partial(first, begin), chosen)


def _check_folder(job: Job, config: str) -> tuple[list[str], str]:
    """Check the run folder, and the settings of a resumed run, before anything is loaded.

    Returns:
        The stages of a resumed run that must be trained again, and why.
    """
    folder = RunFolder.check(job.run)
    return folder.check_same(parse_yaml(config)) if job.run.resume else ([], "")


def _train(
    job: Job,
    show: Callable[[str], None],
    backbone: Backbone | None,
    folder: RunFolder,
    begin: Callable[[], RunFolder],
    extras: Extras,
) -> dict[str, Any]:
    """As :func:`train`, after the checks; ``begin`` creates the folder once the inputs are loaded."""
    started = time.perf_counter()
    ready = prepare(job, show, folder, backbone=backbone, begin=begin)
    job = ready.job  # with the settings that the models decide
    rehearse(ready.model.adapter, job.recipe.stages, ready.task_of, ready.plan_of)
    fitted, reports, measured = _stages(ready, folder, extras)
    adapter, test, making = ready.model.adapter, ready.test, ready.making
    last = list(job.recipe.stages.values())[-1]
    features = ready.caching.caches.get((last.geometry, last.layout.tiling))
    adapter.round_to("bfloat16")
    figures: dict[str, Any] = {"seed": job.run.seed, "stages": reports}
    figures["samples_per_second"] = {name: stage.speed for name, stage in fitted.items()}
    figures["memory"] = {name: stage.memory for name, stage in fitted.items()}
    figures["validation"] = {name: stage.validation for name, stage in fitted.items()}
    figures |= measured
    figures |= {f"captions_after_{name}": report["right"] for name, report in reports.items() if "right" in report}
    if ready.vocabulary is not None and (before := measured.get("hallucination")):
        after = caption_figures(ready.model, ready.held_out, ready.vocabulary, features)
        figures["hallucination"] = {"before": before, "after": after}
        ready.final.tables.append(caption_lines(before, after))
    if test or making:  # A crash among the answers must not cost the bundle.
        _save(job, ready, figures, folder)
    if job.run.dtype == "int8":
        figures["int8"] = gated_int8(ready.model, [*test, *making], features, show)
    if test:
        figures |= ready.final.answers(ready.model, test, features, folder)
    if making:
        figures |= ready.final.made(ready.model, making, features, folder)
    _save(job, ready, figures, folder)
    if not is_first():
        return {}
    figures["bundle_bytes"] = sum(path.stat().st_size for path in folder.bundle.rglob("*") if path.is_file())
    figures["seconds"] = round(time.perf_counter() - started, 1)
    folder.write_metrics(figures)
    for table in ready.final.tables:
        show("\n" + table)
    show(f"\nbundle: {folder.bundle} ({figures['bundle_bytes']:,} bytes), {figures['seconds']} s in all")
    return figures


def _stages(
    ready: Prepared, folder: RunFolder, extras: Extras
) -> tuple[dict[str, Fitted], dict[str, dict[str, float]], dict[str, Any]]:
    """Train all stages in order; returns training figures and reports by stage, and entries of ``metrics.json``."""
    fitted: dict[str, Fitted] = {}
    measured: dict[str, Any] = {}
    reports: dict[str, dict[str, float]] = {}
    job, model, show = ready.job, ready.model, ready.show
    for name, stage, plan, task in ready.plans():
        if stage.objective.aligns and not measured:
            measured = _before(ready, task)
        answers = answer_check(job, stage, model, task.validation, task.features, show) if plan.answers else None
        with model.adapter.sparing():
            fitted[name] = fit(
                plan.module,
                plan.data,
                name=name,
                stage=stage,
                run=job.run,
                folder=folder,
                labels=LabelAudit(model.backbone.llm.tokenizer, show),
                show=show,
                extras=extras,
                answers=answers,
            )
        plan.finish()
        measured |= plan.figures()
        if skipped := plan.data.skipped:
            show(f"left out in {name}: " + ", ".join(f"{count} ({reason})" for reason, count in skipped.items()))
        reports[name] = plan.report() if ready.held_out and is_first() else {}
        if reports[name]:
            show(f"after {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in reports[name].items()))
    if not fitted:
        raise RecipeError(f"no stage can train a projector of kind {job.recipe.projector!r}")
    return fitted, {name: report for name, report in reports.items() if report}, measured


def _before(ready: Prepared, task: Task) -> dict[str, Any]:
    """The figures before alignment tuning that are compared with those after it."""
    found: dict[str, Any] = {}
    if ready.vocabulary is not None and ready.held_out:
        found["hallucination"] = caption_figures(ready.model, ready.held_out, ready.vocabulary, task.features)
    if answers := ready.final.before(ready.model, ready.test, task.features):
        found["before"] = answers
    return found


def _save(job: Job, ready: Prepared, figures: Mapping[str, Any], folder: RunFolder) -> None:
    """Write the bundle with the figures measured so far; all processes call this."""
    adapter = ready.model.adapter
    if is_first():
        adapter.training_facts = _facts(job, ready, figures)
        kind: Literal["int8", "bfloat16"] = "int8" if figures.get("int8", {}).get("accepted", False) else "bfloat16"
        adapter.save_pretrained(folder.bundle, dtype=kind, overwrite=folder.bundle.exists())
    elif job.run.strategy == "fsdp":
        adapter.bundle("bfloat16")  # The canary runs the LLM, which is sharded over all processes.


def _amount(ready: Prepared, data: str) -> str:
    """The training data of a stage in words."""
    if data in ready.streams:
        files = shards_of(ready.job.data)
        return f"{len(files)} shards" if files and data == "align" else "a stream"
    return f"{sum(map(len, sets_of(data, ready.samples)))} rows"


def _facts(job: Job, ready: Prepared, figures: Mapping[str, Any]) -> TrainingSpec:
    """The training facts in the bundle."""
    trained = tuple(figures["samples_per_second"])
    read = [f"{name}: {_amount(ready, job.recipe.stages[name].data)}" for name in trained]
    tests = {id(rows): len(rows) for kind, rows in ready.samples.items() if "test" in kind}
    sizes = ", ".join([*read, *([f"held out: {sum(tests.values())} rows"] if tests else [])])
    metric = ready.final.metric
    # The figure of a built-in metric has its usual name; that of a registered one is called as the metric.
    main = ready.final.main if metric is None or metric.given is None else metric.name
    named = {ready.final.main: main} | {name: name for name in ("blind", "oracle", "choice")}
    measured = {told: float(figures[key]) for key, told in named.items() if key in figures}
    measured |= {f"made_{name}": float(own["right"]) for name, own in figures.get("made", {}).items()}
    return TrainingSpec(
        recipe=job.recipe.system,
        stages=trained,
        data=f"{data_name(job.data)} ({sizes})",
        seed=job.run.seed,
        versions={name: version(name) for name in PACKAGES},
        metrics=measured,
        derived_from=ready.origin,
    )
