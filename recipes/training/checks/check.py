"""Check a run without training: settings, data, models, plans, labels and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inlay.adapters.backbone import Backbone
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.rows.sample import Sample, input_media
from inlay.recipes.data.sampling.step_counts import StepBatch
from inlay.recipes.evaluation.metric_registry import check_metric_name
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.objectives.plan import Plan
from inlay.recipes.objectives.preference.batch import PairBatch
from inlay.recipes.objectives.preference.data import PairData
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job, check_job
from inlay.recipes.settings.precision import device_of
from inlay.recipes.training.callbacks import part_table
from inlay.recipes.training.callbacks.label_audit import joined, marked_pieces
from inlay.recipes.training.callbacks.largest_batch import Planned
from inlay.recipes.training.callbacks.memory_watch import accumulate_line, plan_memory
from inlay.recipes.training.checks.data_report import SetFacts, StageFacts, set_facts, sets_table, token_facts
from inlay.recipes.training.checks.rehearsal import rehearse
from inlay.recipes.training.prepare import prepare

__all__ = ["CheckReport", "check"]

SHOWN = 2
"""Samples of a stage that are printed with their labels."""
LISTED = 12
"""Samples of a stage in the report."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The facts that a check has found."""

    title: str
    sets: Sequence[SetFacts]
    stages: Sequence[StageFacts]


def check(
    job: Job,
    show: Callable[[str], None] = print,
    *,
    backbone: Backbone | None = None,
    use: Callable[[CheckReport], None] | None = None,
) -> CheckReport:
    """Run everything before the first step, for every stage.

    Of the run folder only the list of invalid rows is written, and only if there are any.

    Args:
        job: the run.
        show: prints a line for the user: data, part table, samples with labels, steps and memory plan of each stage.
        backbone: loaded frozen models, instead of those of the job.
        use: receives the report while the media still exist; those of the miniature are removed afterwards.

    Raises:
        InlayError: as in training.
    """
    check_job(job, own_models=backbone is not None)
    check_metric_name(job.run.metric)
    RunFolder.check(job.run)
    if job.run.dtype == "bfloat16":  # Skip the oracle. The int8 check needs the held-out questions.
        job = replace(job, run=replace(job.run, evaluate=False))
    with TemporaryDirectory() as place:
        listed = RunFolder(job.run.output).invalid
        ready = prepare(job, show, RunFolder(Path(place)), backbone=backbone, listed=listed)
        data = ready.job.data
        sets = [set_facts(name, rows, data) for name, rows in ready.read.items()]
        show("\n" + sets_table(sets))
        rehearse(ready.model.adapter, ready.job.recipe.stages, ready.task_of, ready.plan_of)
        stages = []
        for name, stage, plan, _ in ready.plans(cached=False):
            module: Any = plan.module.to(device_of(job.run.accelerator))
            show(part_table(module.parts(), stage.lr))
            facts = _stage_facts(name, plan, ready.model.backbone)
            for number, pieces, _ in facts.examples[:SHOWN]:
                show(f"{number}: {joined(pieces)}")
            if facts.tokens is not None:
                show(facts.tokens.lines())
            if isinstance(module, NextTokenModule) and isinstance(plan.data, Planned):
                memory = plan_memory(module, plan.data)
                show(memory.lines())
                if line := accumulate_line(memory, stage):
                    show(line)
                if not memory.fits:
                    show("not enough memory: raise accumulate, or set --recompute true or --precision bf16-true")
            stages.append(facts)
            plan.finish()
        report = CheckReport(title=job.name, sets=sets, stages=stages)
        if use is not None:
            use(report)
    show("\nall checks passed")
    return report


def _stage_facts(name: str, plan: Plan, backbone: Backbone) -> StageFacts:
    """Token lengths, and the first samples that training would see."""
    examples: list[Any] = []
    for batch in plan.data.train_dataloader():
        rows: Any = batch.batch if isinstance(batch, StepBatch) else batch
        rows = rows.batch if isinstance(rows, PairBatch) else rows  # each pair is one row with its answers, or several
        if not hasattr(rows, "labels") or len(examples) >= LISTED:
            break
        samples = plan.data.samples if isinstance(plan.data, StageData | PairData) else ()
        media = {sample.id: sample for sample in samples}
        for row in range(min(len(rows), LISTED - len(examples))):
            number = rows.names[row]
            shown = _media(media[number]) if number in media else ()
            examples.append((number, marked_pieces(rows, row, backbone.llm.tokenizer), shown))
    return StageFacts(
        name=name,
        amount=f"{plan.data.amount}, {plan.data.steps} steps of {plan.data.stage.batch_size}",
        tokens=token_facts(plan.data, backbone.llm.context),
        examples=examples,
    )


def _media(sample: Sample) -> list[tuple[Modality, Any]]:
    return [(part.modality, part.source) for part in input_media(sample)]
