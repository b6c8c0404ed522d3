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
from inlay.recipes.data.cache.features import Caching
from inlay.recipes.data.cache.store import CacheStore
from inlay.recipes.data.held_out_split import hold_out
from inlay.recipes.data.load import load_data, sets_of, shards_of
from inlay.recipes.data.preparation.stage_samples import phrased
from inlay.recipes.data.row_check import usable_rows
from inlay.recipes.data.rows.offenders import Offender
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.tables.sequences import Joined
from inlay.recipes.data.streaming.shards import Shards
from inlay.recipes.data.token_budget import token_budget
from inlay.recipes.distributed.launch import check_processes
from inlay.recipes.distributed.ranks import first, first_ahead, is_first, world
from inlay.recipes.distributed.sharding import shard
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.runs.digests import check_inputs
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job
from inlay.recipes.runs.miniature_data import CAPTION_JUDGE, draw_data
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.precision import device_of, verdict
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.load_backbone import MINIATURE, backbone_from, chosen_sources
from inlay.recipes.training.final_table import FinalTable
from inlay.recipes.training.streaming import check_stage, plan_stream
from inlay.recipes.training.template import with_template
from inlay.recipes.training.trainer import seed_stage
from inlay.recipes.training.validation import check_watched, validation_samples

__all__ = ["Prepared", "prepare"]

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
    shards: Shards | None
    """Shards of streamed captions; None for none."""
    test: Sequence[Sample]
    """Held-out questions, answered at the end."""
    making: Sequence[Sample]
    """Held-out conversations in which media are generated."""
    caching: Caching
    final: FinalTable
    show: Callable[[str], None]

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
            stream = self.shards if stage.data == "align" else None
            most = self.job.run.validate_samples
            unseen = validation_samples(stage, self.samples, most, self.model) if most else []
            seen = [*(row for own in task.sets for row in own), *self.test, *self.making, *self.held_out, *unseen]
            features = None
            if cached:
                features = self.caching.features(
                    self.model.backbone, stage.geometry, None if stream else seen, tiling=stage.layout.tiling
                )
            seed_stage(self.job.run.seed, name)
            task = replace(task, validation=unseen, features=features)
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
        streamed = self.shards is not None and stage.data == "align"
        return Task(
            stage=stage,
            model=self.model,
            sets=[] if streamed else sets_of(stage.data, self.samples),
            held_out=self.held_out,
            seed=self.job.run.seed,
            workers=self.job.data.workers,
            memory=self.job.data.cache_mib << 20,
            store=self.caching.store,
            show=self.show,
            judge=CAPTION_JUDGE if self.job.data.train is None else None,
        )

    def plan_of(self, name: str, stage: Stage, task: Task) -> Plan | str:
        """The plan of a stage, or the reason why this adapter skips it."""
        if self.shards is not None and stage.data == "align":
            return plan_stream(task, name, self.shards)
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
    if backbone is None:
        # Before data are generated for a backbone that cannot be loaded.
        chosen_sources(job.backbone, job.recipe.sources)
        if job.backbone.quantise is not None:
            check_quantised(job.backbone.quantise)
    shards = _shards(job)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    seed_everything(job.run.seed, verbose=False)
    report, left_out = (listed or folder.invalid if is_first() else None), list[Offender]()
    load = partial(load_data, show=show, report=report, left_out=left_out)
    drawn = job.data.train is None
    samples: Mapping[str, Sequence[Sample]] = {}
    if not drawn:
        with first_ahead():
            samples = load(job.data)
    digests: list[str] = []
    if job.data.test_size is not None:
        samples, digests = hold_out(samples, job.data.test_size, job.run.seed, show)
    device = device_of(job.run.accelerator)
    own = job.backbone.llm is not None if backbone is None else not str(backbone.llm.source).startswith(MINIATURE)
    backbone = backbone or backbone_from(job.backbone, job.recipe.sources, device)
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
        raise SettingsError("dtype: int8 needs held-out conversations: give --data.test, and leave evaluate on")
    final = FinalTable(job, test, backbone.llm.tokenizer, show)
    final.ask_oracle(backbone, test)

    adapter = job.recipe.adapter(backbone, job.name)
    streamed, models = shards.files if shards else (), {name: port.weights for name, port in adapter.interface.items()}
    first(partial(check_inputs, folder.digests, samples, streamed, models, resume=job.run.resume, show=show))
    if job.run.begin is not None:
        _begin(adapter, job.run.begin)
    model = adapter.attach(backbone)
    model.limit = Limit(job.data.max_length, cut=job.data.too_long == "cut")
    samples = usable_rows(
        samples,
        job.recipe.stages,
        model,
        seed=job.run.seed,
        invalid=job.data.invalid,
        too_long=job.data.too_long,
        streamed=bool(shards),
        left_out=left_out,
        report=report,
        show=show,
    )
    for name, stage in job.recipe.stages.items():
        read = Joined(sets_of(stage.data, samples))
        if stage.objective.conversations and len(read) and not (shards and stage.data == "align"):
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
        shards=shards,
        test=test,
        making=making,
        caching=Caching(memory=job.data.cache_mib << 20, store=store, show=show),
        final=final,
        show=show,
    )


def _in_half(job: Job) -> Job:
    """The job with frozen models in bfloat16."""
    if job.backbone.dtype not in ("auto", "bfloat16"):
        raise SettingsError(
            f"precision bf16-true needs frozen models in bfloat16, got --backbone.dtype {job.backbone.dtype}; leave "
            "one of them out"
        )
    return replace(job, backbone=replace(job.backbone, dtype="bfloat16"))


def _asked_at_end(job: Job, samples: Mapping[str, Sequence[Sample]]) -> tuple[list[Sample], list[Sample]]:
    """Held-out questions, and held-out conversations with generated media."""
    if not job.run.evaluate:
        return [], []
    last = list(job.recipe.stages.values())[-1]
    making = [sample for name, rows in samples.items() if name.startswith("make_test") for sample in rows]
    return [phrased(sample, last) for sample in samples.get("test", [])], making


def _shards(job: Job) -> Shards | None:
    """The shards, after a check that every stage can read a stream; None for none."""
    files = shards_of(job.data)
    if not files:
        return None
    for name, stage in job.recipe.stages.items():
        check_stage(name, stage)
    return Shards(files=files, shuffle=job.data.shuffle, broken=job.data.invalid)


def _begin(adapter: Adapter, source: Path) -> None:
    """Initialise the input projectors from a bundle, which must have equal projectors."""
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
