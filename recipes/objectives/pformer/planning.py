"""The plans of P-Former's two objectives."""

from __future__ import annotations

from functools import partial

from inlay.recipes.data.preparation.stage_samples import expanded
from inlay.recipes.objectives.caption_tokens import CaptionTokens
from inlay.recipes.objectives.pformer.module import PFormerStudentModule, PFormerTeacherModule
from inlay.recipes.objectives.pformer.settings import PFormerStudent, PFormerTeacher
from inlay.recipes.objectives.plan import Plan, Task, conversation_data, conversation_plan, conversation_validation
from inlay.recipes.objectives.pretrained_bert import new_teacher
from inlay.recipes.objectives.qformer_contrastive.caption_batch import captioned
from inlay.recipes.settings.objective import ObjectiveError

__all__ = ["student_plan", "teacher_plan"]


def teacher_plan(settings: PFormerTeacher, task: Task) -> Plan:
    """Train the text-only teacher for later stages."""
    if "image" not in task.model.adapter.inputs:
        raise ObjectiveError("pformer_teacher: expected a backbone with an image encoder, got none")
    tokens = CaptionTokens(task.model.backbone.prompter(), settings.text_tokens)
    teacher = new_teacher(settings.bert, queries=task.model.tokens["image"], width=task.model.backbone.llm.width)
    data = conversation_data(task)
    module = PFormerTeacherModule(task.model, teacher, tokens, _texts(task), settings, task.stage, data.steps)
    return Plan(
        module=module,
        data=data,
        validation=conversation_validation(task),
        finish=partial(task.carried.update, teacher=teacher),
    )


def student_plan(settings: PFormerStudent, task: Task) -> Plan:
    """Next-token prediction with the teacher's prompts as an extra target."""
    if "teacher" not in task.carried:
        raise ObjectiveError(f"{settings.name}: there is no teacher; run a stage with pformer_teacher before this one")
    tokens = CaptionTokens(task.model.backbone.prompter(), settings.text_tokens)
    teacher = task.carried["teacher"]
    return conversation_plan(
        task, lambda steps: PFormerStudentModule(task.model, teacher, tokens, _texts(task), settings, task.stage, steps)
    )


def _texts(task: Task) -> dict[str, str]:
    """Sample id -> caption."""
    rows = [captioned(sample) for samples in (*task.sets, task.validation) for sample in expanded(samples, task.stage)]
    return {row.name: row.text for row in rows}
