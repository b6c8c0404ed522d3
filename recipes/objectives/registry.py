"""The plan of each objective: training module, data, result for later stages, and report.

One function for each objective; a stage chooses by its field ``objective``, whatever its system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.preparation.stage_samples import expanded, phrased
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.distributed.ranks import world
from inlay.recipes.evaluation.answering import answer_all
from inlay.recipes.evaluation.metrics.captions.figures import caption_figures
from inlay.recipes.miniature.judge import LONGEST, caption_is_right
from inlay.recipes.objectives.caption_tokens import CaptionTokens
from inlay.recipes.objectives.next_token import NextToken
from inlay.recipes.objectives.pformer import Aligned, Teach
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.objectives.qformer_contrastive.caption_batch import Captioned, captioned, collate_captions, owners_of
from inlay.recipes.objectives.qformer_contrastive.former import hand_over, hinders, new_pretrainer, new_teacher
from inlay.recipes.objectives.qformer_contrastive.module import Represent
from inlay.recipes.objectives.qformer_contrastive.retrieval import retrieval_report
from inlay.recipes.objectives.signals.plan import plan_signals
from inlay.recipes.settings.objective_settings import ObjectiveError, RepresentSettings, TeacherSettings
from inlay.recipes.settings.recipe import Objective

__all__ = ["OBJECTIVES", "Plan", "Task"]


def next_token(task: Task) -> Plan:
    """Next-token prediction: captioning, conversations, questions, instructions."""
    data = _conversations(task)
    return Plan(
        module=NextToken(task.model, task.stage, data.steps),
        data=data,
        validation=_validation(task),
        answers=True,
        report=partial(_captions, task),
    )


def represent(task: Task) -> Plan | str:
    """BLIP-2's first stage, on a Q-Former with a text branch that the adapter does not keep."""
    stage, backbone, projector = task.stage, task.model.backbone, task.model.adapter.inputs["image"]
    if reason := hinders(projector):
        return reason
    settings = stage.represent or RepresentSettings()
    tokens = CaptionTokens(backbone.prompter(), settings.text_tokens)
    former = new_pretrainer(projector, tokens, settings).to(next(projector.parameters()).device)
    sets = [[captioned(sample) for sample in expanded(samples, stage)] for samples in task.sets]
    rows = [row for own in sets for row in own]

    def batches(rows: list[Captioned], sizes: list[int]) -> StepData:
        collate = partial(
            collate_captions,
            tokens=tokens,
            backbone=backbone,
            geometry=stage.geometry,
            owners=owners_of(rows),
            features=task.features,
        )

        def read(_: int, index: int) -> Captioned:
            return rows[index]

        return StepData(sizes, read, collate, stage, seed=task.seed, workers=task.workers)

    data = batches(rows, [len(own) for own in sets])
    unseen = [captioned(sample) for sample in expanded(task.validation, stage)]
    unseen = unseen[: len(unseen) // world() * world()]  # Contrast gathers equally many rows of every process.
    held_out = [phrased(sample, stage) for sample in task.held_out]
    return Plan(
        module=Represent(backbone, former, tokens, stage, data.steps),
        data=data,
        validation=batches(unseen, [len(unseen)]) if unseen else None,
        finish=partial(hand_over, former, projector),
        report=partial(retrieval_report, former, backbone, tokens, held_out, stage, task.features),
    )


def teach(task: Task) -> Plan:
    """The text-only teacher of the stages that come after."""
    settings = task.stage.teacher or TeacherSettings()
    tokens = CaptionTokens(task.model.backbone.prompter(), settings.text_tokens)
    teacher = new_teacher(settings, queries=task.model.tokens["image"], width=task.model.backbone.llm.width)
    data = _conversations(task)
    module = Teach(task.model, teacher, tokens, _texts(task), task.stage, data.steps)
    return Plan(
        module=module, data=data, validation=_validation(task), finish=partial(task.left.update, teacher=teacher)
    )


def aligned(task: Task) -> Plan:
    """Next-token prediction with the teacher's prompts as an extra target."""
    if "teacher" not in task.left:
        raise ObjectiveError("aligned: no teacher; put a stage with the objective 'teach' in front of this one")
    settings = task.stage.teacher or TeacherSettings()
    tokens = CaptionTokens(task.model.backbone.prompter(), settings.text_tokens)
    data = _conversations(task)
    module = Aligned(task.model, task.left["teacher"], tokens, _texts(task), task.stage, data.steps)
    return Plan(module=module, data=data, validation=_validation(task), answers=True, report=partial(_captions, task))


def signals(task: Task) -> Plan | str:
    """NExT-GPT's output side, and next-token prediction beside it."""
    plan = plan_signals(task)
    return plan if isinstance(plan, str) else replace(plan, report=partial(_captions, task))


JUDGED = 250
"""Captions that the miniature writes after a stage; the share of right ones is then known to three points."""

OBJECTIVES: dict[Objective, Callable[[Task], Plan | str]] = {
    "next_token": next_token,
    "represent": represent,
    "teach": teach,
    "aligned": aligned,
    "signals": signals,
}
"""Objective -> its plan for a stage, or why this adapter has no such stage."""


def _conversations(task: Task) -> StageData:
    """The data of a stage that a language model learns from."""
    sets = [expanded(rows, task.stage) for rows in task.sets]
    return StageData(
        [row for rows in sets for row in rows],
        task.model,
        task.stage,
        seed=task.seed,
        sizes=[len(rows) for rows in sets],
        features=task.features,
        workers=task.workers,
    )


def _validation(task: Task) -> StageData | None:
    """The held-out samples as the batches of a stage that a language model learns from."""
    return _conversations(replace(task, sets=[task.validation])) if task.validation else None


def _texts(task: Task) -> dict[str, str]:
    """Sample id -> caption."""
    rows = [captioned(sample) for samples in (*task.sets, task.validation) for sample in expanded(samples, task.stage)]
    return {row.name: row.text for row in rows}


def _captions(task: Task) -> dict[str, float]:
    """Scores of captions of held-out pictures against human captions, and by the miniature's judge."""
    if task.stage.data != "align" or not task.held_out:
        return {}
    shown = task.held_out[:JUDGED] if task.own_world else task.held_out
    samples = [phrased(sample, task.stage) for sample in shown]
    layout = task.stage.layout
    if task.stage.split == "random":
        layout = replace(layout, prompt="")  # The prompt would hold the beginning of the caption.
    answered = answer_all(task.model, samples, layout=layout, features=task.features, max_new_tokens=LONGEST)
    said, truths = [item.said for item in answered], [item.question.answers for item in answered]
    figures = caption_figures(said, truths)
    if task.own_world:
        right = [caption_is_right(item.said, item.question.reference) for item in answered]
        figures["right"] = sum(right) / len(right)
    return figures
