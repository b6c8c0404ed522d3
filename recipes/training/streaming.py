"""A stage whose captioned pictures come as a stream: the same objectives, on batches from shards.

An objective is planned as ever, on the first samples of the stream, so that what is wrong with them is said at once;
then its batches are taken from the stream.
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
    """See whether a stage can do with a stream of captions, before anything is trained.

    Raises:
        SettingsError: it does not say how many steps, it draws data sets by their sizes, or its objective has to know
            every caption beforehand.
    """
    if stage.data == "all":
        raise SettingsError(
            f"stage {name} learns from all files and draws each by the square root of its size, and a stream of shards "
            "has none; give the captions as JSON lines instead"
        )
    if stage.data != "align":
        return
    if stage.max_steps is None:
        raise SettingsError(
            f"stage {name}: shards are a stream without an end, so say how many steps: --stages.{name}.max_steps 1000"
        )
    if not stage.objective.streamed:
        raise SettingsError(
            f"stage {name}: the objective {stage.objective.name} has to know every caption beforehand, and a stream "
            "does not; give the captions as JSON lines instead"
        )


def plan_stream(task: Task, name: str, shards: Shards) -> Plan | str:
    """The plan of a stage on shards, or why this adapter has no such stage.

    Args:
        task: of the stage; its own data sets are not looked at.
        name: of the stage.
        shards: where its data come from.

    Raises:
        SettingsError: as for :func:`check_stage`.
        DataError: the first samples cannot be used.
    """
    stage = task.stage
    check_stage(name, stage)
    # So many passes over so few samples that the steps alone decide.
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
