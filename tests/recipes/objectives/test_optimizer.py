"""The optimizer of a stage: what decays, how the learning rate goes down."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stages import changed, stage_from
from torch import nn
from transformers import get_linear_schedule_with_warmup

from inlay.adapters.inputs import projector_config
from inlay.adapters.inputs.pretraining.qformer import QFormerPretrainConfig, QFormerPretrainer
from inlay.adapters.parts.part import Part
from inlay.recipes.objectives.optimizer import learning_rate, optimizer_for
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems import blip2, modaverse, nextgpt

STAGE = stage_from(
    data="align", template="plain", geometry="pad", lr={"inputs": 1e-3}, batch_size=4, weight_decay=0.05, warmup_steps=1
)


def groups_of(module: nn.Module, stage: Stage = STAGE) -> dict[str, float]:
    """Name of a trained tensor -> its weight decay."""
    optimizer: Any = optimizer_for([Part("inputs.image", "test", module)], stage, 10)["optimizer"]
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}


@pytest.fixture
def former(former_fields: dict[str, int]) -> QFormerPretrainer:
    """BLIP-2's first stage."""
    fields = vars(projector_config("qformer", former_fields | {"width_in": 24, "width_out": 32}))
    known = QFormerPretrainConfig.__dataclass_fields__
    return QFormerPretrainer(QFormerPretrainConfig(**{k: v for k, v in fields.items() if k in known}))


def in_lavis(name: str, parameter: nn.Parameter) -> bool:
    """``BaseModel.get_optimizer_params`` of LAVIS."""
    return not (parameter.ndim < 2 or "bias" in name or "ln" in name or "bn" in name)


def test_weight_decay_reaches_the_tensors_that_it_reaches_in_lavis(former: QFormerPretrainer) -> None:
    found = groups_of(former)
    assert found == {name: 0.05 if in_lavis(name, p) else 0.0 for name, p in former.named_parameters()}
    assert (
        found["temperature"] == found["ln_vision.weight"] == found["lm_head.bias"] == found["lm_head.norm.weight"] == 0
    )
    assert found["query_tokens"] == found["embeddings.word_embeddings.weight"] == 0.05


def test_a_tensor_without_decay_and_without_gradient_stays_as_it_is(former: QFormerPretrainer) -> None:
    before = {name: p.detach().clone() for name, p in former.named_parameters()}
    optimizer: Any = optimizer_for([Part("inputs.image", "test", former)], STAGE, 10)["optimizer"]
    for parameter in former.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in former.named_parameters():
        shrinks = in_lavis(name, parameter) and bool(parameter.any())
        assert torch.equal(parameter, before[name]) is not shrinks, name


def test_a_part_is_one_group_without_weight_decay_and_two_with_it(former: QFormerPretrainer) -> None:
    part = Part("inputs.image", "test", former)
    plain: Any = optimizer_for([part], changed(STAGE, weight_decay=0.0), 10)["optimizer"]
    both: Any = optimizer_for([part], STAGE, 10)["optimizer"]
    assert [group["name"] for group in plain.param_groups] == ["inputs.image"]
    assert [group["name"] for group in both.param_groups] == ["inputs.image", "inputs.image (no decay)"]
    assert {group["initial_lr"] for group in both.param_groups} == {1e-3}


def test_linear_decay_is_that_of_transformers() -> None:
    """Theirs starts at 0 and takes one step more to the peak; behind the warm-up both are the same line."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimizer, 10, 100).lr_lambdas[0]
    ours = learning_rate(100, 10, "linear")
    assert [ours(step) for step in range(10, 101)] == pytest.approx([theirs(step) for step in range(10, 101)])


def test_the_schedule_reaches_the_optimizer() -> None:
    rates = {}
    for schedule in ("cosine", "linear", "constant"):
        made: Any = optimizer_for(
            [Part("inputs.image", "test", nn.Linear(2, 2))], changed(STAGE, schedule=schedule, warmup_steps=10), 100
        )
        factor = made["lr_scheduler"]["scheduler"].lr_lambdas[0]
        rates[schedule] = [round(factor(step), 3) for step in (0, 9, 32, 99)]
    assert rates == {
        "cosine": [0.1, 1.0, 0.86, 0.0],
        "linear": [0.1, 1.0, 0.756, 0.011],
        "constant": [0.1, 1.0, 1.0, 1.0],
    }


def test_an_unknown_schedule_and_a_floor_without_effect_are_refused() -> None:
    with pytest.raises(RecipeError, match="schedule: expected one of cosine, linear, constant, got 'cubic'"):
        changed(STAGE, schedule="cubic")
    with pytest.raises(RecipeError, match="floor: has no effect with schedule constant"):
        changed(STAGE, schedule="constant", floor=0.1)


def test_released_configurations_of_nextgpt_and_modaverse_decay_linearly_from_5e_4() -> None:
    stages = [*nextgpt.LEGACY.values(), *modaverse.recipe(size="full").stages.values()]
    assert {rate for stage in stages for rate in stage.lr.values()} == {5e-4}
    assert {(stage.optimizer.schedule, stage.optimizer.warmup, stage.optimizer.weight_decay) for stage in stages} == {
        ("linear", 0.1, 1e-3)
    }


def test_the_later_code_of_nextgpt_and_blip2_keep_the_cosine() -> None:
    stages = [*nextgpt.LATER.values(), *blip2.recipe(size="full").stages.values()]
    assert {stage.optimizer.schedule for stage in stages} == {"cosine"}
