"""P-Former's two stages: what is masked, what trains, what the student is drawn to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from picture_rows import caption_rows

from inlay.recipes.objectives.pformer.module import mask_words
from inlay.recipes.objectives.pformer.settings import PFormerStudent, PFormerTeacher
from inlay.recipes.objectives.plan import Task
from inlay.recipes.settings.objective import ObjectiveError
from inlay.recipes.settings.recipe import Recipe
from inlay.recipes.settings.stage import Stage

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


def planned(task: Task) -> Any:
    return task.stage.objective.plan(task)


@pytest.fixture
def task_of(eva_backbone_of: Any, former_fields: Any, image_of: Any, folders: dict[str, Path], tmp_path: Path) -> Any:
    def make(left: dict[str, Any], part: str) -> Task:
        teacher = PFormerTeacher(bert=str(folders["bert"]), text_tokens=16)
        objective: Any = teacher if part == "teacher" else PFormerStudent(text_tokens=16)
        stage = Stage(
            data="align",
            template="blip2",
            geometry="squash",
            prompt="",
            objective=objective,
            lr={part: 1e-3},
            batch_size=2,
        )
        backbone = eva_backbone_of()
        torch.manual_seed(0)
        recipe = Recipe(
            system="test", projector="qformer", stages={"only": stage}, projector_options={"qformer": former_fields}
        )
        rows = caption_rows(image_of, tmp_path, ("a red circle .", "a large blue star ."))
        model = recipe.adapter(backbone, "test").attach(backbone)
        return Task(stage=stage, model=model, sets=[rows], carried=left)

    return make


def batch_of(plan: Any) -> Any:
    return plan.data.collate([plan.data.read(0, index) for index in range(2)])


def test_only_words_between_the_first_and_last_token_are_masked() -> None:
    ids = torch.tensor([[2, 7, 8, 9, 3, 0], [2, 7, 3, 0, 0, 0]])
    mask = (ids > 0).long()
    assert mask_words(ids, mask, 4, 1.0).tolist() == [[2, 4, 4, 4, 3, 0], [2, 4, 3, 0, 0, 0]]
    assert torch.equal(mask_words(ids, mask, 4, 0.0), ids)
    torch.manual_seed(0)
    many = torch.full((2000, 6), 7)
    masked = mask_words(many, torch.ones_like(many), 4, 0.25)[:, 1:-1] == 4
    assert masked.float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_every_tensor_of_the_teacher_gets_a_gradient_and_the_adapter_none(task_of: Any) -> None:
    task = task_of({}, "teacher")
    plan = planned(task)
    plan.module.training_step(batch_of(plan), 0).backward()
    assert [name for name, p in plan.module.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(parameter.grad is None for parameter in task.model.adapter.parameters())
    assert all(parameter.grad is None for parameter in task.model.backbone.parameters())


def test_student_is_drawn_towards_the_teacher_that_was_left_behind(task_of: Any) -> None:
    left: dict[str, Any] = {}
    planned(task_of(left, "teacher")).finish()
    task = task_of(left, "inputs.image")
    plan: Any = planned(task)
    batch = batch_of(plan)
    model, teacher = task.model, left["teacher"]
    model.adapter.eval()
    loss = plan.module.training_step(batch, 0)
    given = model.adapter.project("image", model.backbone.encoder("image").encode(batch.inputs["image"]))
    wanted = teacher(*plan.module.tokens(["a red circle .", "a large blue star ."]))
    expected = model(batch).loss + (given - wanted).square().mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in model.adapter.parameters())
    assert not any(name.startswith("_teacher") for name in plan.module.state_dict())


def test_student_without_a_teacher_is_refused(task_of: Any) -> None:
    with pytest.raises(ObjectiveError, match="no teacher"):
        planned(task_of({}, "inputs.image"))
