"""Eval mode for what is frozen in a stage, whatever trains beside it; training mode for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning_runs import silent_trainer
from picture_rows import circle_rows
from torch import nn

from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.sampling.step_counts import Share
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.objectives.step_module import eval_frozen
from inlay.recipes.settings.stage import Stage

pytestmark = pytest.mark.filterwarnings(
    "ignore:The '(train|val)_dataloader' does not have many workers",
    "ignore:You are trying to `self.log",
)


@pytest.fixture
def samples(image_of: Any, tmp_path: Path) -> list[Sample]:
    return circle_rows(image_of, tmp_path, ("red", "green", "blue", "yellow"))


class Modes(Callback):
    """Which parts are in training mode in every batch."""

    def __init__(self) -> None:
        self.seen: list[dict[str, bool]] = []
        self.validations = 0

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        self.validations += 1

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append({part.name: all(m.training for m in part.module.modules()) for part in module.parts()})


class Validated(NextTokenModule):
    """With validation, after which Lightning puts modules back into a mode."""

    def validation_step(self, batch: Any, _: int) -> None:
        return

    def on_validation_model_train(self) -> None:
        self.train()


def fit(model: Any, samples: list[Sample], lr: dict[str, float], *, validate: bool = False) -> list[dict[str, bool]]:
    stage = Stage(data="train", template="vicuna_v1", geometry="pad", lr=lr, batch_size=2, max_steps=4, epochs=9.0)
    data = StageData(samples, model, stage, seed=7)
    modes = Modes()
    if validate:
        data.val_dataloader = lambda: torch.utils.data.DataLoader([0])
    trainer = silent_trainer(
        max_steps=4, num_sanity_val_steps=0, val_check_interval=2 if validate else None, callbacks=[modes]
    )
    trainer.fit((Validated if validate else NextTokenModule)(model, stage, 4), datamodule=data)
    assert (modes.validations > 0) == validate
    return modes.seen


def attached(backbone_of: Any, adapter_of: Any) -> Any:
    torch.manual_seed(11)
    backbone = backbone_of()
    adapter = adapter_of(backbone, dropout=0.5)
    for name, parameter in adapter.named_parameters():
        if name.endswith("/B"):
            nn.init.normal_(parameter, std=0.02)
    return adapter.attach(backbone)


@pytest.mark.parametrize("validate", [False, True])
def test_frozen_lora_has_no_dropout_while_the_projector_trains(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], validate: bool
) -> None:
    seen = fit(attached(backbone_of, adapter_of), samples, {"inputs": 1e-3}, validate=validate)
    assert seen == [{"inputs.image": True, "lora": False}] * 4


def test_a_frozen_projector_is_in_eval_mode_while_lora_trains(
    backbone_of: Any, adapter_of: Any, samples: list[Sample]
) -> None:
    seen = fit(attached(backbone_of, adapter_of), samples, {"lora": 1e-3})
    assert seen == [{"inputs.image": False, "lora": True}] * 4


def test_the_loss_over_frozen_lora_is_the_same_each_time(
    backbone_of: Any, adapter_of: Any, samples: list[Sample]
) -> None:
    model = attached(backbone_of, adapter_of)
    stage = Stage(data="train", template="vicuna_v1", geometry="pad", lr={"inputs": 1e-3}, batch_size=2)
    module = NextTokenModule(model, stage, 4).train()
    batch = model.batch([sample.messages for sample in samples])
    losses = [module.training_step(batch, 0).item() for _ in range(2)]
    assert losses[0] == losses[1]


def test_an_adapter_that_was_loaded_to_serve_trains_with_dropout(
    backbone_of: Any, adapter_of: Any, samples: list[Sample]
) -> None:
    model = attached(backbone_of, adapter_of)
    model.adapter.eval()
    assert fit(model, samples, {"inputs": 1e-3, "lora": 1e-3}) == [{"inputs.image": True, "lora": True}] * 4


def test_idle_is_what_no_micro_batch_of_the_step_reaches(backbone_of: Any, adapter_of: Any) -> None:
    stage = Stage(data="train", template="vicuna_v1", geometry="pad", lr={"lora": 1e-3}, batch_size=2, accumulate=2)
    module = NextTokenModule(attached(backbone_of, adapter_of), stage, 4)
    idle = []
    for first, names in ((True, ("a.", "b.")), (False, ("b.", "c.")), (True, ("c.",))):
        module.share = Share({}, {}, first, not first)
        module.note_idle(names)
        idle.append(module.idle)
    assert idle == [("a.", "b."), ("b.",), ("c.",)]


def test_a_frozen_piece_of_a_part_that_trains_is_in_eval_mode() -> None:
    frozen = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).requires_grad_(False)
    trained = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    eval_frozen(whole := nn.Sequential(frozen, trained).train())
    assert [module.training for module in frozen.modules()] == [False] * 3
    assert [module.training for module in trained.modules()] == [True] * 3
    assert whole.training


def test_the_teacher_s_stage_freezes_the_adapter(backbone_of: Any, adapter_of: Any) -> None:
    from inlay.recipes.objectives.pformer.module import PFormerTeacherModule
    from inlay.recipes.objectives.pformer.settings import PFormerTeacher

    model = attached(backbone_of, adapter_of)
    stage = Stage(
        data="align", template="plain", geometry="pad", lr={"teacher": 1e-3}, batch_size=2, objective=PFormerTeacher()
    )
    module = PFormerTeacherModule(model, nn.Linear(2, 2), None, {}, PFormerTeacher(), stage, 4).train()
    assert module.teacher.training
    assert not any(part.training for part in model.adapter.modules())
    assert not any(parameter.requires_grad for parameter in model.adapter.parameters())
