"""A stage on streamed captioned pictures: the same objectives, with batches from shards.

The objective is planned on the first samples of the stream, so that errors in them appear at once; then the batches
come from the stream.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inlay.recipes.data.preparation.stage_samples import expanded
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.streaming.shards import Shards, StreamData
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.stage import Stage

__all__ = ["check_stage", "plan_stream"]

FIRST = 4


def check_stage(name: str, stage: Stage) -> None:
    """Check that a stage can read a stream of captions, before training.

    Raises:
        SettingsError: no ``max_steps``, sampling by the sizes of data sets, or an objective that needs all captions
            beforehand.
    """
    if stage.data == "all":
        raise SettingsError(
            f"stage {name} samples all files by the square roots of their sizes, which a stream of shards does not "
            "have; give the captions as JSON lines instead"
        )
    if stage.data != "align":
        return
    if stage.max_steps is None:
        raise SettingsError(
            f"stage {name}: a stream of shards has no end; set the number of steps: --stages.{name}.max_steps 1000"
        )
    if not stage.objective.streamed:
        raise SettingsError(
            f"stage {name}: the objective {stage.objective.name} needs all captions beforehand; give the "
            "captions as JSON lines instead"
        )


def plan_stream(task: Task, name: str, shards: Shards) -> Plan | str:
    """The plan of a stage on shards, or the reason why this adapter skips it.

    Args:
        task: the stage's task; its data sets are ignored.
        name: name of the stage.
        shards: source of the samples.

    Raises:
        SettingsError: as for :func:`check_stage`.
        DataError: the first samples cannot be used.
    """
    stage = task.stage
    check_stage(name, stage)
    # Enough passes over these few samples that max_steps decides.
    first = replace(stage, epochs=float((stage.max_steps or 1) * stage.batch_size))
    plan: Plan | str = stage.objective.plan(replace(task, stage=first, sets=[shards.first(FIRST)], features=None))
    if isinstance(plan, str):
        return plan
    row = plan.stream_row
    if row is None:
        raise SettingsError(f"stage {name}: the objective {stage.objective.name} cannot read a stream of captions")

    def phrased_row(number: int, sample: Sample) -> Any:
        (phrased,) = expanded([sample], stage)
        return row(number, phrased)

    data = StreamData(shards, phrased_row, plan.data.collate, stage, seed=task.seed, workers=task.workers)
    return replace(plan, data=data)
