"""The plan of a stage of preference tuning: rows, reference, module and audit."""

from __future__ import annotations

from collections.abc import Sequence

from inlay.recipes.data.preparation.stage_samples import expanded
from inlay.recipes.data.rows.sample import Sample, is_preference
from inlay.recipes.data.rows.tables.sequences import Joined
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.objectives.preference.audit import Audit
from inlay.recipes.objectives.preference.data import PairData
from inlay.recipes.objectives.preference.module import PreferenceModule
from inlay.recipes.objectives.preference.reference import FrozenCopy, StoredReference
from inlay.recipes.objectives.preference.settings import Preference

__all__ = ["preference_plan"]


def preference_plan(settings: Preference, task: Task) -> Plan:
    """Plan a stage of preference tuning."""
    model, stage = task.model, task.stage
    reference = FrozenCopy(model)
    join = model.reads_branches()
    if not join:
        task.show(f"{model.backbone.llm.family} does not support several answers to one prompt in a row; each is a row")

    def rows_of(sets: Sequence[Sequence[Sample]]) -> PairData:
        return PairData(
            Joined([expanded(rows, stage) for rows in sets]),
            model,
            stage,
            settings,
            seed=task.seed,
            sizes=[len(rows) for rows in sets],
            features=task.features,
            workers=task.workers,
            memory=task.memory,
            join=join,
        )

    data = rows_of(task.sets)
    held_out, audited = ([row for row in rows if is_preference(row)] for rows in (task.validation, task.audited))
    validation = rows_of([held_out]) if held_out else None
    if settings.function.needs_reference and _stored(settings, task, data):
        stored = StoredReference(model, stage.layout, task.store, task.show)
        for own in (data, *([validation] if validation else [])):
            stored.fill(own.rows(), own.collate_rows)
            own.stored = stored
    audit = None
    if settings.audit and settings.paired and audited:
        rows = rows_of([audited])
        rows.streams = ("chosen", "rejected")  # the audit itself decides on the medium
        audit = Audit(
            model,
            audited,
            rows,
            beta=float(getattr(settings.function, "beta", 1.0)),
            referenced=settings.function.needs_reference,
            show=task.show,
        )
        audit.begin()
    return Plan(
        module=PreferenceModule(model, stage, data.steps, settings, reference),
        data=data,
        validation=validation,
        figures=audit.end if audit is not None else dict,
    )


def _stored(settings: Preference, task: Task, data: PairData) -> bool:
    """Whether the reference's log-probabilities are computed before training."""
    if settings.reference != "auto":
        return settings.reference == "stored"
    again = data.steps * task.stage.batch_size > len(data.samples)
    return not task.stage.samples.varies and (again or task.store is not None)
