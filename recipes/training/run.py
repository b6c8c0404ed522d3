"""Train a system: its stages one after the other, then the bundle, then the held-out table. Lightning does the loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.language.precision import halve
from inlay.adapters.loading.quantisation import check_quantised
from inlay.hub.format.manifest import TrainingSpec
from inlay.recipes.data.cache.features import Caching
from inlay.recipes.data.cache.store import CacheStore
from inlay.recipes.data.load import load_data, sets_of, shards_of
from inlay.recipes.data.preparation.stage_samples import phrased
from inlay.recipes.data.row_check import usable_rows
from inlay.recipes.data.rows.offenders import Offender
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.streaming.shards import Shards
from inlay.recipes.distributed.launch import check_processes, start_again
from inlay.recipes.distributed.ranks import first, first_ahead, is_first, joined, started_with, world
from inlay.recipes.distributed.sharding import shard
from inlay.recipes.evaluation.metric_registry import check_metric_name
from inlay.recipes.miniature.judges.captions import caption_is_right
from inlay.recipes.objectives.plan import Task
from inlay.recipes.runs.config import config_of
from inlay.recipes.runs.digests import check_inputs
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job, check_job, data_name
from inlay.recipes.runs.miniature_data import draw_data
from inlay.recipes.settings.errors import RecipeError, SettingsError
from inlay.recipes.settings.plain_yaml import parse_yaml
from inlay.recipes.settings.precision import device_of, settle, verdict
from inlay.recipes.systems.load_backbone import backbone_from, chosen_sources
from inlay.recipes.training.callbacks import LabelAudit
from inlay.recipes.training.extras import Extras
from inlay.recipes.training.final_table import FinalTable, gated_int8
from inlay.recipes.training.streaming import check_stage, plan_stream
from inlay.recipes.training.trainer import Fitted, fit, seed_stage
from inlay.recipes.training.validation import answer_check, check_watched, validation_samples

__all__ = ["Job", "train"]

PACKAGES = ("inlay", "torch", "transformers", "lightning")


def train(
    job: Job,
    show: Callable[[str], None] = print,
    *,
    backbone: Backbone | None = None,
    extras: Extras | None = None,
) -> dict[str, Any]:
    """Run every stage, save the bundle, measure it.

    With ``devices`` above 1, the program that calls this is started again, once a device, and ends as they end.

    Args:
        job: what to do.
        show: where lines for the user go.
        backbone: frozen models put together by hand, instead of those that the job names.
        extras: callbacks, loggers, Trainer arguments and optimizer of the user.

    Returns:
        What ``metrics.json`` holds; of several processes, in the first one.

    Raises:
        SettingsError: settings that contradict each other, or a folder that this run may not write into. An earlier
            run is replaced only with ``overwrite``: it is set aside until this one has finished.
        MetricError: no metric has the name that is given.
        SystemExit: the processes that ``devices`` asks for have ended.
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
        first(partial(_check_folder, job, config))
        if not is_first():
            show = _silent
        with folder.writing(job.run, config, show) as begin:
            chosen = extras or Extras(logger=job.run.logger.split(","))
            return _train(job, show, backbone, folder, partial(first, begin), chosen)


def _check_folder(job: Job, config: str) -> None:
    """Check the run folder, and the settings of a run that goes on, before anything is loaded."""
    folder = RunFolder.check(job.run)
    if job.run.resume:
        folder.check_same(parse_yaml(config))


def _train(
    job: Job,
    show: Callable[[str], None],
    backbone: Backbone | None,
    folder: RunFolder,
    begin: Callable[[], RunFolder],
    extras: Extras,
) -> dict[str, Any]:
    """As :func:`train`, with settings and folder checked; ``begin`` creates the folder once the inputs are loaded."""
    started = time.perf_counter()
    check_processes(job.run, job.recipe.stages, world())
    half = job.run.precision == "bf16-true"
    if half and job.backbone.dtype not in ("auto", "bfloat16"):
        raise SettingsError(
            "precision bf16-true takes the frozen models in bfloat16, and --backbone.dtype asks for "
            f"{job.backbone.dtype}; leave one of them out"
        )
    if half:
        job = replace(job, backbone=replace(job.backbone, dtype="bfloat16"))
        show(verdict(job.run.precision, job.run.accelerator))
    if backbone is None:
        # Before data are made for a backbone that is not there.
        chosen_sources(job.backbone, job.recipe.sources)
        if job.backbone.quantise is not None:
            check_quantised(job.backbone.quantise)
    shards = _shards(job)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    seed_everything(job.run.seed, verbose=False)
    listed, left_out = (folder.invalid if is_first() else None), list[Offender]()
    load = partial(load_data, show=show, report=listed, left_out=left_out)
    drawn = job.data.train is None  # into the run folder
    if drawn:
        samples = {}
    else:
        with first_ahead():
            samples = load(job.data)
    device = device_of(job.run.accelerator)
    backbone = backbone or backbone_from(job.backbone, job.recipe.sources, device)
    begin()
    if drawn:
        with first_ahead():
            samples = load(draw_data(job.data, folder.data, job.run.seed, job.recipe.world, show))
    if half:
        halve(backbone.llm.model)
    backbone.to(device)  # Here already: features are encoded before anything trains.
    last = list(job.recipe.stages.values())[-1]
    test, making = _asked_at_end(job, samples)
    if job.run.dtype == "int8" and not (test or making):
        raise SettingsError("dtype: int8 is judged by held-out conversations: give --data.test, and leave evaluate on")
    final = FinalTable(job, test, backbone.llm.tokenizer, show)
    final.ask_oracle(backbone, test)

    adapter = job.recipe.adapter(backbone, job.name)
    streamed, models = shards.files if shards else (), {name: port.weights for name, port in adapter.interface.items()}
    first(partial(check_inputs, folder.digests, samples, streamed, models, resume=job.run.resume, show=show))
    if job.run.begin is not None:
        _begin(adapter, job.run.begin)
    model = adapter.attach(backbone)
    samples = usable_rows(
        samples,
        job.recipe.stages,
        model,
        seed=job.run.seed,
        invalid=job.data.invalid,
        streamed=bool(shards),
        left_out=left_out,
        report=listed,
        show=show,
    )
    test, making = _asked_at_end(job, samples)
    check_watched(job, samples, model)
    if job.run.strategy == "fsdp":
        shard(backbone.llm.model, adapter.parameters(), "cuda")
    store = CacheStore(job.data.cache_dir, budget=job.data.cache_disk_mib << 20) if job.data.cache_dir else None
    caching = Caching(memory=job.data.cache_mib << 20, store=store, show=show)
    fitted, reports = _stages(job, model, samples, shards, [*test, *making], caching, folder, show, extras)
    features = caching.caches.get(last.geometry)
    adapter.round_to("bfloat16")
    figures: dict[str, Any] = {"seed": job.run.seed, "stages": reports}
    figures["samples_per_second"] = {name: stage.speed for name, stage in fitted.items()}
    figures["memory"] = {name: stage.memory for name, stage in fitted.items()}
    figures["validation"] = {name: stage.validation for name, stage in fitted.items()}
    figures |= {f"captions_after_{name}": report["right"] for name, report in reports.items() if "right" in report}
    if job.run.dtype == "int8":
        figures["int8"] = gated_int8(model, [*test, *making], features, show)
    if test:
        figures |= final.answers(model, test, features, folder)
    if making:
        figures |= final.made(model, making, features, folder)
    if not is_first():
        if job.run.strategy == "fsdp":
            adapter.bundle("bfloat16")  # Its canary runs the language model, of which every process holds a part.
        return {}
    adapter.training_facts = _facts(job, samples, figures)
    accepted = figures.get("int8", {}).get("accepted", False)
    adapter.save_pretrained(folder.bundle, dtype="int8" if accepted else "bfloat16", overwrite=folder.bundle.exists())
    figures["bundle_bytes"] = sum(path.stat().st_size for path in folder.bundle.rglob("*") if path.is_file())
    figures["seconds"] = round(time.perf_counter() - started, 1)
    folder.write_metrics(figures)
    for table in final.tables:
        show("\n" + table)
    show(f"\nbundle: {folder.bundle} ({figures['bundle_bytes']:,} bytes), {figures['seconds']} s in all")
    return figures


def _stages(
    job: Job,
    model: AttachedModel,
    samples: Mapping[str, list[Sample]],
    shards: Shards | None,
    test: Sequence[Sample],
    caching: Caching,
    folder: RunFolder,
    show: Callable[[str], None],
    extras: Extras,
) -> tuple[dict[str, Fitted], dict[str, dict[str, float]]]:
    """Every stage in its order; how it was trained, and its report, by stage."""
    carried: dict[str, Any] = {}
    fitted: dict[str, Fitted] = {}
    reports: dict[str, dict[str, float]] = {}
    held_out = samples.get("align_test", []) if job.run.evaluate else []
    for name, stage in job.recipe.stages.items():
        stream = shards if stage.data == "align" else None
        sets = [] if stream else sets_of(stage.data, samples)
        rows = [row for own in sets for row in own]
        most = job.run.validate_samples
        unseen = validation_samples(stage, samples, most, model) if most else []
        seen = [*rows, *test, *held_out, *unseen]
        cache = caching.features(model.backbone, stage.geometry, None if stream else seen)
        seed_stage(job.run.seed, name)
        task = Task(
            stage=stage,
            model=model,
            sets=sets,
            held_out=held_out,
            validation=unseen,
            features=cache,
            seed=job.run.seed,
            workers=job.data.workers,
            carried=carried,
            memory=job.data.cache_mib << 20,
            store=caching.store,
            show=show,
            judge=caption_is_right if job.data.train is None else None,
        )
        plan = plan_stream(task, name, stream) if stream else stage.objective.plan(task)
        if isinstance(plan, str):
            show(f"\nstage {name}: left out, {plan}")
            continue
        if plan.validation is not None and sum(plan.validation.sizes) >= world():
            plan.data.validation = plan.validation
        answers = answer_check(job, stage, model, unseen, cache, show) if plan.answers else None
        show(f"\nstage {name}: {plan.data.amount}, {plan.data.steps} steps of {stage.batch_size}")
        labels = LabelAudit(model.backbone.llm.tokenizer, show)
        with model.adapter.sparing():
            fitted[name] = fit(
                plan.module,
                plan.data,
                name=name,
                stage=stage,
                run=job.run,
                folder=folder,
                labels=labels,
                show=show,
                extras=extras,
                answers=answers,
            )
        plan.finish()
        if skipped := plan.data.skipped:
            show(f"left out in {name}: " + ", ".join(f"{count} ({reason})" for reason, count in skipped.items()))
        reports[name] = plan.report() if held_out and is_first() else {}
        if reports[name]:
            show(f"after {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in reports[name].items()))
    if not fitted:
        raise RecipeError(f"no stage can train a projector of kind {job.recipe.projector!r}")
    return fitted, {name: report for name, report in reports.items() if report}


def _silent(_: str) -> None:
    """What the other processes say."""


def _asked_at_end(job: Job, samples: Mapping[str, list[Sample]]) -> tuple[list[Sample], list[Sample]]:
    """Held-out questions, and held-out conversations in which something is made."""
    if not job.run.evaluate:
        return [], []
    last = list(job.recipe.stages.values())[-1]
    making = [sample for name, rows in samples.items() if name.startswith("make_test") for sample in rows]
    return [phrased(sample, last) for sample in samples.get("test", [])], making


def _shards(job: Job) -> Shards | None:
    """Where captions are streamed from, once every stage is known to be able to learn from a stream."""
    files = shards_of(job.data)
    if not files:
        return None
    for name, stage in job.recipe.stages.items():
        check_stage(name, stage)
    return Shards(files=files, shuffle=job.data.shuffle, broken=job.data.invalid)


def _begin(adapter: Adapter, source: Path) -> None:
    """Weights of a bundle as the first weights; every tensor of the projector has to be there."""
    held = Adapter.from_pretrained(source)
    for name, projector in adapter.inputs.items():
        given = dict(held.inputs.items()).get(name)
        if given is None or vars(adapter.projector(name).config) != vars(held.projector(name).config):
            found = "none" if given is None else f"{held.projector(name).kind} {held.projector(name).config}"
            raise SettingsError(
                f"begin: {source} does not hold the projector of this run for {name}: expected "
                f"{adapter.projector(name).kind} {adapter.projector(name).config}, found {found}"
            )
        projector.load_state_dict(given.state_dict())


def _facts(job: Job, samples: Mapping[str, Sequence[Sample]], figures: Mapping[str, Any]) -> TrainingSpec:
    """Provenance for the bundle."""
    streamed = {"align": f"{len(files)} shards of"} if (files := shards_of(job.data)) else {}
    counts = streamed | {kind: str(len(rows)) for kind, rows in samples.items()}
    sizes = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    named = ("accuracy", "cider", "blind", "oracle", "choice")
    measured = {key: float(figures[key]) for key in named if key in figures}
    measured |= {f"made_{name}": float(own["right"]) for name, own in figures.get("made", {}).items()}
    return TrainingSpec(
        recipe=job.recipe.system,
        stages=tuple(figures["samples_per_second"]),
        data=f"{data_name(job.data)} ({sizes})",
        seed=job.run.seed,
        versions={name: version(name) for name in PACKAGES},
        metrics=measured,
    )
