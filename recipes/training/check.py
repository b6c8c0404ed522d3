"""Check a run without training: settings, data, models, plans, labels and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inlay.adapters.backbone import Backbone
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.sampling.step_counts import StepBatch
from inlay.recipes.evaluation.metric_registry import check_metric_name
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job, check_job
from inlay.recipes.settings.precision import device_of
from inlay.recipes.training.callbacks import mark_trained, part_table
from inlay.recipes.training.callbacks.memory_watch import plan_memory
from inlay.recipes.training.prepare import prepare

__all__ = ["check"]

SHOWN = 2
"""Samples per stage to print with their labels."""


def check(job: Job, show: Callable[[str], None] = print, *, backbone: Backbone | None = None) -> None:
    """Run everything before the first step, for every stage, without writing into the run folder.

    Args:
        job: the run.
        show: prints a line for the user: data, part table, samples with labels, steps and memory plan of each stage.
        backbone: loaded frozen models, instead of those of the job.

    Raises:
        InlayError: as in training.
    """
    check_job(job, own_models=backbone is not None)
    check_metric_name(job.run.metric)
    RunFolder.check(job.run)
    if job.run.dtype == "bfloat16":  # Skip the oracle. The int8 check needs the held-out questions.
        job = replace(job, run=replace(job.run, evaluate=False))
    with TemporaryDirectory() as place:
        ready = prepare(job, show, RunFolder(Path(place)), backbone=backbone)
        for name, rows in ready.samples.items():
            show(f"data {name}: {len(rows)} samples")
        tokenizer = ready.model.backbone.llm.tokenizer
        for _, stage, plan, _ in ready.plans(cached=False):
            module: Any = plan.module.to(device_of(job.run.accelerator))
            show(part_table(module.parts(), stage.lr))
            batch: Any = next(iter(plan.data.train_dataloader()))
            batch = batch.batch if isinstance(batch, StepBatch) else batch
            for row in range(min(SHOWN, len(batch)) if hasattr(batch, "labels") else 0):
                show(f"{batch.names[row]}: {mark_trained(batch, row, tokenizer)}")
            if isinstance(module, NextTokenModule) and isinstance(plan.data, StageData):
                memory = plan_memory(module, plan.data)
                show(memory.lines())
                if not memory.fits:
                    show("not enough memory: raise accumulate, or set --recompute true or --precision bf16-true")
            plan.finish()
    show("\nall checks passed")
