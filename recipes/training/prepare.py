"""Prepare a run: read and check the data, load the models, attach the adapter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.core.encode import Limit
from inlay.adapters.language.precision import halve
from inlay.adapters.loading.quantisation import check_quantised
from inlay.hub.format.manifest import OriginSpec
from inlay.recipes.data.cache.features import Caching
from inlay.recipes.data.cache.store import CacheStore
from inlay.recipes.data.held_out_split import hold_out
from inlay.recipes.data.load import load_data, sets_of, streams_of
from inlay.recipes.data.preference_check import check_kinds
from inlay.recipes.data.preparation.stage_samples import phrased
from inlay.recipes.data.rows.offenders import Offender
from inlay.recipes.data.rows.sample import Sample, is_preference
from inlay.recipes.data.rows.tables.sequences import Joined
from inlay.recipes.data.streaming.rows_source import RowSource
from inlay.recipes.data.streaming.shards import Source
from inlay.recipes.data.token_budget import token_budget
from inlay.recipes.data.usable_rows import usable_rows
from inlay.recipes.distributed.launch import check_processes
from inlay.recipes.distributed.ranks import first, first_ahead, is_first, world
from inlay.recipes.distributed.sharding import shard
from inlay.recipes.evaluation.generation import split_generation
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.runs.backbone import backbone_settings
from inlay.recipes.runs.digests import check_inputs
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import NO_INT8, Job, check_half
from inlay.recipes.runs.miniature_data import CAPTION_JUDGE, draw_data
from inlay.recipes.runs.part_options import check_part_options
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.precision import device_of, verdict
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.load_backbone import MINIATURE, backbone_from, chosen_sources
from inlay.recipes.training.continuing.continued import QUESTIONS, continued, vocabulary_of, with_held_out
from inlay.recipes.training.final_table import FinalTable
from inlay.recipes.training.load_model import backbone_of
from inlay.recipes.training.streaming import check_stage, plan_stream
from inlay.recipes.training.template import with_template
from inlay.recipes.training.trainer import seed_stage
from inlay.recipes.training.validation import check_watched, validation_samples

__all__ = ["Prepared", "prepare"]

AUDITED = 256
"""Held-out preferences for the figures before and after alignment tuning."""
FEW_STEPS = 50
"""Below so many optimizer steps the user is told how to get more; published batch sizes are meant for large data."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The inputs of a run that is ready to train."""

    job: Job
    model: AttachedModel
    """The adapter on its backbone."""
    samples: Mapping[str, Sequence[Sample]]
    """Name of the file (``align``, ``train``, ``test``, ...) -> samples."""
    streams: Mapping[str, Source]
    """The data sets that are read during training."""
    test: Sequence[Sample]
    """Held-out questions, answered at the end."""
    making: Sequence[Sample]
    """Held-out conversations in which media are generated."""
    caching: Caching
    final: FinalTable
    vocabulary: ObjectVocabulary | None
    """The object classes of the pictures, if they are known."""
    origin: OriginSpec | None
    """The bundle that the run continues; None for a new adapter."""
    show: Callable[[str], None]
    checkpoints: Path | None = None
    """The folder of the checkpoints, which also holds the positions in streams."""

    @property
    def held_out(self) -> Sequence[Sample]:
        """Held-out captioned pictures for the reports of the stages."""
        return self.samples.get("align_test", []) if self.job.run.evaluate else []

    def plans(self, *, cached: bool = True) -> Iterator[tuple[str, Stage, Plan, Task]]:
        """Each stage with its plan, created after the previous stage; stages that do not fit this adapter are skipped.

        Args:
            cached: compute the frozen features of the stage's media first, as far as they fit into memory.
        """
        carried: dict[str, Any] = {}
        for name, stage in self.job.recipe.stages.items():
            task = replace(self.task_of(stage), carried=carried)
            stream = self.streams.get(stage.data)
            most = self.job.run.validate_samples
            unseen = validation_samples(stage, self.samples, most, self.model) if most else []
            audited = validation_samples(stage, self.samples, AUDITED, self.model) if stage.objective.aligns else []
            seen = Joined([*task.sets, self.test, self.making, self.held_out, unseen, audited])
            features = None
            if cached:
                features = self.caching.features(
                    self.model.backbone, stage.geometry, None if stream else seen, tiling=stage.layout.tiling
                )
            seed_stage(self.job.run.seed, name)
            task = replace(task, validation=unseen, audited=audited, features=features)
            plan = self.plan_of(name, stage, task)
            if isinstance(plan, str):
                self.show(f"\nstage {name}: skipped, {plan}")
                continue
            if plan.validation is not None and sum(plan.validation.sizes) >= world():
                plan.data.validation = plan.validation
            self.show(f"\nstage {name}: {plan.data.amount}, {plan.data.steps} steps of {stage.batch_size}")
            if plan.data.steps < FEW_STEPS:
                self.show(
                    f"stage {name} has few optimizer steps: lower --stages.{name}.batch_size or raise "
                    f"--stages.{name}.epochs if it does not learn"
                )
            yield name, stage, plan, task

    def task_of(self, stage: Stage) -> Task:
        """The task of a stage, without cached features and validation."""
        return Task(
            stage=stage,
            model=self.model,
            sets=[] if stage.data in self.streams else sets_of(stage.data, self.samples),
            held_out=self.held_out,
            seed=self.job.run.seed,
            workers=self.job.data.workers,
            memory=self.job.data.cache_mib << 20,
            store=self.caching.store,
            show=self.show,
            vocabulary=self.vocabulary,
            judge=CAPTION_JUDGE if self.job.data.train is None else None,
        )

    def plan_of(self, name: str, stage: Stage, task: Task) -> Plan | str:
        """The plan of a stage, or the reason why this adapter skips it."""
        if (source := self.streams.get(stage.data)) is not None:
            if isinstance(source, RowSource) and self.checkpoints is not None:
                source = replace(source, positions=self.checkpoints / name / "stream")
            return plan_stream(task, name, source)
        plan: Plan | str = stage.objective.plan(task)
        return plan


def prepare(
    job: Job,
    show: Callable[[str], None],
    folder: RunFolder,
    *,
    backbone: Backbone | None = None,
    begin: Callable[[], object] = lambda: None,
    listed: Path | None = None,
) -> Prepared:
    """Read and check the data, load the models, attach a new adapter.

    Args:
        job: recipe and checked settings.
        show: prints a line for the user.
        folder: for the list of invalid rows, digests, and the miniature's data.
        backbone: loaded frozen models, instead of those of the job.
        begin: creates the folder, after models and the user's data are loaded.
        listed: the file of the list of invalid rows, if it is not that of `folder`.
    """
    check_processes(job.run, job.recipe.stages, world())
    half = job.run.precision == "bf16-true"
    if half:
        job = _in_half(job)
        show(verdict(job.run.precision, job.run.accelerator))
    adapter: Adapter | None = None
    origin: OriginSpec | None = None
    if job.recipe.continues:
        adapter, origin, job = continued(job, show)
        if backbone is None:
            backbone_settings(job.run.begin or "", adapter, job.backbone)
    else:
        check_part_options(job.recipe)
        if backbone is None:
            # Before data are generated for a backbone that cannot be loaded.
            chosen_sources(job.backbone, job.recipe.sources)
    if backbone is None and job.backbone.quantise is not None:
        check_quantised(job.backbone.quantise)
    streams = _streams(job)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    seed_everything(job.run.seed, verbose=False)
    report, left_out = (listed or folder.invalid if is_first() else None), list[Offender]()
    load = partial(load_data, show=show, report=report, left_out=left_out)
    drawn = job.data.train is None
    samples: Mapping[str, Sequence[Sample]] = {}
    if not drawn:
        with first_ahead():
            samples = load(job.data)
    for name, stage in job.recipe.stages.items() if samples else ():
        for rows in sets_of(stage.data, samples) if stage.objective.conversations and stage.data not in streams else ():
            check_kinds(rows, name, stage.objective)
    digests: list[str] = []
    if job.recipe.continues:
        samples = with_held_out(samples, job, show)
    if job.data.test_size is not None:
        samples, digests = hold_out(samples, job.data.test_size, job.run.seed, show)
    device = device_of(job.run.accelerator)
    # The data have been read: a wrong row is reported before models are loaded.
    by_settings = backbone is None and adapter is None
    if backbone is None and adapter is not None:
        backbone = backbone_of(job.run.begin or "", adapter, job.backbone)
    backbone = backbone or backbone_from(job.backbone, job.recipe.sources, device)
    own = job.backbone.llm is not None if by_settings else not str(backbone.llm.source).startswith(MINIATURE)
    if not job.recipe.continues:
        job = replace(job, recipe=job.recipe.for_encoders(tuple(backbone.encoders)))
    job = with_template(job, backbone.llm.tokenizer, own=own, show=show)
    begin()
    if digests and is_first():
        folder.write_held_out(digests)
    if drawn:
        with first_ahead():
            samples = load(draw_data(job.data, folder.data, job.run.seed, job.recipe.world, show))
    if half:
        halve(backbone.llm.model)
    backbone.to(device)  # Features are computed before training.
    test, making = _asked_at_end(job, samples)
    if job.run.dtype == "int8" and not (test or making):
        raise SettingsError(NO_INT8)
    final = FinalTable(job, test, backbone.llm.tokenizer, show)
    final.ask_oracle(backbone, test)

    if adapter is None:
        adapter = job.recipe.adapter(backbone, job.name)
        if job.run.begin is not None:
            show(_begin(adapter, job.run.begin))
    streamed = {kind: source.files for kind, source in streams.items()}
    models = {name: port.weights for name, port in adapter.interface.items()}
    first(partial(check_inputs, folder.digests, samples, streamed, models, resume=job.run.resume, show=show))
    model = adapter.attach(backbone)
    model.limit = Limit(job.data.max_length, cut=job.data.too_long == "cut")
    samples = usable_rows(
        samples,
        job.recipe.stages,
        model,
        seed=job.run.seed,
        invalid=job.data.invalid,
        too_long=job.data.too_long,
        streamed=streams,
        vocabulary=vocabulary_of(job),
        left_out=left_out,
        report=report,
        show=show,
    )
    for name, stage in job.recipe.stages.items():
        read = Joined([] if stage.data in streams else sets_of(stage.data, samples))
        if stage.objective.conversations and len(read):
            show(f"tokens in {name}: {token_budget(model, stage.layout, read)}")
    test, making = _asked_at_end(job, samples)
    check_watched(job, samples, model)
    if job.run.strategy == "fsdp":
        shard(backbone.llm.model, adapter.parameters(), "cuda")
    store = CacheStore(job.data.cache_dir, budget=job.data.cache_disk_mib << 20) if job.data.cache_dir else None
    return Prepared(
        job=job,
        model=model,
        samples=samples,
        streams=streams,
        test=test,
        making=making,
        caching=Caching(memory=job.data.cache_mib << 20, store=store, show=show),
        final=final,
        vocabulary=vocabulary_of(job),
        origin=origin,
        show=show,
        checkpoints=folder.root / "checkpoints",
    )


def _in_half(job: Job) -> Job:
    """The job with frozen models in bfloat16."""
    check_half(job)
    return replace(job, backbone=replace(job.backbone, dtype="bfloat16"))


def _asked_at_end(job: Job, samples: Mapping[str, Sequence[Sample]]) -> tuple[list[Sample], list[Sample]]:
    """Held-out questions, and held-out conversations with generated media."""
    if not job.run.evaluate:
        return [], []
    last = list(job.recipe.stages.values())[-1]
    making = [sample for name, rows in samples.items() if name.startswith("make_test") for sample in rows]
    rows = [row for name in ("test", QUESTIONS) for row in samples.get(name, []) if not is_preference(row)]
    text, further = split_generation(rows)
    return [phrased(row, last) for row in text], [*further, *making]


def _streams(job: Job) -> dict[str, Source]:
    """The streams by data set, after a check that every stage can read them."""
    streams = streams_of(job.data)
    for name, stage in job.recipe.stages.items() if streams else ():
        check_stage(name, stage, streams)
    return streams


def _begin(adapter: Adapter, source: Path) -> str:
    """Initialise the input projectors from a bundle, which must have equal projectors; returns a line for the user."""
    held = Adapter.from_pretrained(source)
    for name, projector in adapter.inputs.items():
        given = dict(held.inputs.items()).get(name)
        if given is None or vars(adapter.projector(name).config) != vars(held.projector(name).config):
            found = "none" if given is None else f"{held.projector(name).kind} {held.projector(name).config}"
            raise SettingsError(
                f"begin: {source}: expected the projector {adapter.projector(name).kind} "
                f"{adapter.projector(name).config} for {name}, got {found}"
            )
        projector.load_state_dict(given.state_dict())
    if adapter.newline is not None and held.newline is not None:
        adapter.newline.load_state_dict(held.newline.state_dict())
    begun = [name for name in (part.name for part in held.parts()) if name.startswith("inputs.")]
    anew = [name for name in (part.name for part in held.parts()) if name not in begun]
    line = f"begin: {source}: its {', '.join(begun)} are the start"
    return line + (
        f"; not used: its {', '.join(anew)} (system align trains all parts of a bundle further)" if anew else ""
    )
