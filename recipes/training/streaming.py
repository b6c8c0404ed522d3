"""A stage on a stream of samples: the same objectives, with batches from shards or from rows.

The objective is planned on the first samples of the stream, so that errors in them appear at once; then the batches
come from the stream.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from inlay.recipes.data.preparation.stage_samples import expanded, varied
from inlay.recipes.data.row_check import RowCheck, TooLong
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.streaming.row_stream import LeftOut
from inlay.recipes.data.streaming.rows_source import RowSource
from inlay.recipes.data.streaming.shards import Source, StreamData
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.stage import Stage

__all__ = ["check_stage", "plan_stream"]

FIRST = 4


def check_stage(name: str, stage: Stage, streamed: Collection[str] = ("align",)) -> None:
    """Check that a stage can read a stream, before training.

    Args:
        name: name of the stage.
        stage: the stage.
        streamed: the data sets that are streams.

    Raises:
        SettingsError: no ``max_steps``, sampling by the sizes of data sets, or an objective that needs all captions
            beforehand.
    """
    if stage.data == "all" and "all" not in streamed:
        raise SettingsError(
            f"stage {name} samples all files by the square roots of their sizes, which a stream does not have; give "
            "files that are read before training instead"
        )
    if stage.data not in streamed:
        return
    if stage.max_steps is None:
        raise SettingsError(
            f"stage {name}: a stream has no end; set the number of steps: --stages.{name}.max_steps 1000"
        )
    if not stage.objective.streamed:
        raise SettingsError(
            f"stage {name}: the objective {stage.objective.name} needs all captions beforehand; give a file that is "
            "read before training instead"
        )


def plan_stream(task: Task, name: str, source: Source) -> Plan | str:
    """The plan of a stage on a stream, or the reason why this adapter skips it.

    Args:
        task: the stage's task; its data sets are ignored.
        name: name of the stage.
        source: source of the samples.

    Raises:
        SettingsError: as for :func:`check_stage`.
        DataError: the first samples cannot be used.
    """
    stage = task.stage
    check_stage(name, stage, (stage.data,))
    if isinstance(source, RowSource):
        source = replace(source, split=partial(_split, stage=stage))
        if stage.objective.conversations:
            check = RowCheck(task.model, stage.layout)
            problem = partial(_problem, check=check, stage=stage, seed=task.seed, too_long=source.too_long)
            source = replace(source, problem=problem)
    # Enough passes over these few samples that max_steps decides.
    first = replace(stage, epochs=float((stage.max_steps or 1) * stage.batch_size))
    plan: Plan | str = stage.objective.plan(replace(task, stage=first, sets=[source.first(FIRST)], features=None))
    if isinstance(plan, str):
        return plan
    row = plan.stream_row
    if row is None:
        raise SettingsError(f"stage {name}: the objective {stage.objective.name} cannot read a stream of captions")

    def phrased_row(number: int, sample: Sample) -> Any:
        if isinstance(source, RowSource):
            return row(number, sample)
        (phrased,) = expanded([sample], stage)
        return row(number, phrased)

    data = StreamData(source, phrased_row, plan.data.collate, stage, seed=task.seed, workers=task.workers)
    return replace(plan, data=data)


def _split(sample: Sample, *, stage: Stage) -> Sequence[Sample]:
    return list(expanded([sample], stage))


def _problem(
    samples: Sequence[Sample], where: str, *, check: RowCheck, stage: Stage, seed: int, too_long: str
) -> DataError | None:
    """Why the language model cannot encode the samples of a row; None if it can."""
    said = [varied(sample, stage, seed=seed, number=0).messages for sample in samples]
    for told in filter(None, check.problems(said)):
        kind = LeftOut if isinstance(told, TooLong) and too_long != "raise" else DataError
        return kind(f"{where}: {told}")
    return None
