"""A rehearsal of all stages on a few rows, before the first one trains: settings of the last stage fail at once.

Rows are checked elsewhere (:mod:`inlay.recipes.data.row_check`); this finds problems that only the objectives detect:
a stage without its teacher, a batch too small for a contrastive loss, learning rates for parts that the adapter lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from inlay.adapters.adapter import Adapter
from inlay.adapters.conversation.messages import made_of
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.objectives.step_module import StepModule
from inlay.recipes.settings.stage import Stage

__all__ = ["rehearse"]

FEW = 8
"""Rows of each data set."""
FAR = 1000
"""Rows among which one with generated media is looked for; stages that train output projectors need one."""

Planned = Callable[[str, Stage, Task], Plan | str]


def rehearse(adapter: Adapter, stages: Mapping[str, Stage], task_of: Callable[[Stage], Task], plan: Planned) -> None:
    """Plan every stage on a few rows, and build its optimizer; the adapter is left as it was.

    Args:
        adapter: its weights are restored, because the end of a stage may copy weights into it.
        stages: in training order.
        task_of: stage -> its task, without cached features.
        plan: name, stage and task -> the plan, or the reason why this adapter skips the stage.

    Raises:
        InlayError: a stage cannot be trained with its settings.
    """
    carried: dict[str, Any] = {}
    with _restored(adapter):
        for name, stage in stages.items():
            task = task_of(stage)
            unseen: dict[str, Any] = {"validation": (), "audited": (), "held_out": ()}
            few = replace(task, sets=[_few(rows) for rows in task.sets], features=None, **unseen)
            try:
                planned = plan(name, stage, replace(few, carried=carried, store=None, show=lambda _: None))
            except DataError:  # A few rows may lack what the stage needs; all rows are checked when it is planned.
                continue
            if isinstance(planned, Plan):
                if isinstance(planned.module, StepModule):
                    planned.module.configure_optimizers()
                planned.finish()


def _few(rows: Any) -> list[Sample]:
    """The first rows, and one with generated media."""
    chosen = list(islice(rows, FEW))
    making = next((row for row in islice(rows, FAR) if made_of(row.messages)), None)
    return chosen if making is None or any(making is row for row in chosen) else [*chosen, making]


@contextmanager
def _restored(adapter: Adapter) -> Iterator[None]:
    """Restore the weights, and which of them train, on leaving."""
    held = {name: tensor.detach().clone() for name, tensor in adapter.state_dict().items()}
    trained = {name: parameter.requires_grad for name, parameter in adapter.named_parameters()}
    try:
        yield
    finally:
        adapter.load_state_dict(held)
        for name, parameter in adapter.named_parameters():
            parameter.requires_grad_(trained[name])
