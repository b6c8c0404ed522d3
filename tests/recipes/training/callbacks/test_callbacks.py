"""Audits: each stops the run that it is there to stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from stages import changed

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.language.labels import IGNORE
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.stage import Stage
from inlay.recipes.training.callbacks import (
    FiniteLoss,
    GradientAudit,
    GradientAuditError,
    LabelAudit,
    NonFiniteLossError,
)
from inlay.recipes.training.callbacks.label_audit import LabelAuditError, mark_trained

STAGE = Stage(data="train", template="vicuna_v1", geometry="pad", lr={"inputs.image": 1e-2, "lora": 1e-2}, batch_size=4)


class StandIn:
    """What the callbacks ask of a trainer."""

    global_step = 41


@pytest.fixture
def model(backbone_of: Any, adapter_of: Any) -> Any:
    backbone = backbone_of()
    return adapter_of(backbone).attach(backbone)


def batch_of(model: Any, image: Any) -> Any:
    user = Message("user", (MediaPart("image", image), TextPart("what?")))
    row = model.encode((user, Message("assistant", (TextPart("red"),))), name="card-3")
    return model.collate([row])


def test_trained_text_is_marked(model: Any, image_of: Any) -> None:
    text = mark_trained(batch_of(model, image_of()), 0, model.backbone.llm.tokenizer)
    assert text == "<s>USER: <media x4>\\nwhat? ASSISTANT:[[ red</s>]]"


def test_what_an_encoder_decoder_has_to_write_stands_behind_what_it_reads(
    backbone_of: Any, adapter_of: Any, image_of: Any
) -> None:
    backbone = backbone_of("t5")
    model = adapter_of(backbone, r=None, template="blip2").attach(backbone)
    batch = batch_of(model, image_of())
    assert mark_trained(batch, 0, backbone.llm.tokenizer) == "<media x4>what?</s> -> [[red</s>]]"
    LabelAudit(backbone.llm.tokenizer, print).on_train_batch_start(StandIn(), None, batch, 0)
    empty = replace(batch, target=torch.full_like(batch.target, IGNORE))
    with pytest.raises(LabelAuditError, match="card-3"):
        LabelAudit(backbone.llm.tokenizer).on_train_batch_start(StandIn(), None, empty, 0)


def test_sample_without_label_stops_with_its_name(model: Any, image_of: Any) -> None:
    batch = batch_of(model, image_of())
    empty = replace(batch, labels=torch.full_like(batch.labels, IGNORE))
    with pytest.raises(LabelAuditError, match="card-3"):
        LabelAudit(model.backbone.llm.tokenizer).on_train_batch_start(StandIn(), None, empty, 0)


def test_two_samples_are_printed_once(model: Any, image_of: Any) -> None:
    lines: list[str] = []
    audit = LabelAudit(model.backbone.llm.tokenizer, lines.append)
    for _ in range(3):
        audit.on_train_batch_start(StandIn(), None, batch_of(model, image_of()), 0)
    assert len(lines) == 1
    assert "[[ red</s>]]" in lines[0]


def test_tensor_without_gradient_is_named(model: Any) -> None:
    module = NextTokenModule(model, STAGE, 3)
    with pytest.raises(GradientAuditError, match=r"adapter\.inputs\.image\.layers\.0\.weight"):
        GradientAudit().on_before_optimizer_step(StandIn(), module, None)


def test_gradient_of_zeros_is_named(model: Any, image_of: Any) -> None:
    module = NextTokenModule(model, STAGE, 3)
    model(batch_of(model, image_of())).loss.backward()
    GradientAudit().on_before_optimizer_step(StandIn(), module, None)
    next(model.adapter.inputs.parameters()).grad.zero_()
    with pytest.raises(GradientAuditError, match=r"is zero at the first step.*features are all zero.*--lora.targets"):
        GradientAudit().on_before_optimizer_step(StandIn(), module, None)


def test_gradient_of_zeros_is_right_where_the_module_says_so(model: Any, image_of: Any) -> None:
    module = NextTokenModule(model, STAGE, 3)
    model(batch_of(model, image_of())).loss.backward()
    next(model.adapter.inputs.parameters()).grad.zero_()
    model.adapter.inputs["image"].without_gradient = frozenset({"layers.0.weight"})
    audit = GradientAudit()
    audit.on_before_optimizer_step(StandIn(), module, None)
    assert audit.done


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_stops_with_step_and_samples(model: Any, image_of: Any, loss: float) -> None:
    callback = FiniteLoss()
    callback.on_train_batch_start(StandIn(), None, batch_of(model, image_of()), 0)
    with pytest.raises(NonFiniteLossError, match=r"step 41 \(samples card-3\)"):
        callback.on_before_backward(StandIn(), None, torch.tensor(loss))


def test_unknown_part_in_a_stage_is_refused(model: Any) -> None:
    with pytest.raises(RecipeError, match=r"no part is called outputs\.image; this adapter has inputs\.image, lora"):
        NextTokenModule(model, replace(STAGE, lr={"outputs.image": 1e-3}), 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lr", {}),
        ("lr", {"lora": -1.0}),
        ("batch_size", 0),
        ("accumulate", 3),
        ("epochs", 0),
        ("max_steps", 0),
        ("warmup", 2.0),
        ("template", "alpaca"),
    ],
)
def test_contradictory_stage_is_refused(field: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=field):
        changed(STAGE, **{field: value})
