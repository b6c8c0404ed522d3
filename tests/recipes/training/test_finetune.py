"""``finetune``: what the command line does, with parts of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning_runs import silent_trainer

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes import evaluate, finetune, llava
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.training.extras import Extras


@pytest.fixture
def train_file(image_of: Any, tmp_path: Path) -> Path:
    rows = []
    for number in range(8):
        image_of(number).save(tmp_path / f"{number}.png")
        turns = [{"from": "human", "value": "<image>\nwhat is it?"}, {"from": "gpt", "value": "a red circle ."}]
        rows.append({"id": str(number), "image": f"{number}.png", "conversations": turns})
    path = tmp_path / "train.json"
    path.write_text(json.dumps(rows))
    return path


class Steps(Callback):
    def __init__(self) -> None:
        self.optimizers: list[str] = []

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.optimizers.append(type(trainer.optimizers[0]).__name__)


def test_a_few_lines_train_with_own_callbacks_logger_optimizer_and_trainer_arguments(
    train_file: Path, eva_backbone_of: Any, tmp_path: Path
) -> None:
    steps = Steps()
    run = finetune(
        llava.recipe("1.0"),
        backbone=eva_backbone_of("llama"),
        train=train_file,
        output=tmp_path / "run",
        callbacks=[steps],
        logger=CSVLogger(tmp_path / "mine"),
        optimizer=lambda groups: torch.optim.SGD(groups, momentum=0.9),
        trainer={"max_steps": 2},
        accelerator="cpu",
        show=lambda _: None,
    )
    assert steps.optimizers == ["SGD", "SGD"]
    assert run.bundle.is_dir()
    assert run.adapter().system == "llava"
    assert not run.adapter().training
    assert (run.folder / "config.yaml").is_file()
    assert list((tmp_path / "mine").rglob("metrics.csv"))
    assert not (run.folder / "logs").exists()
    model = run.adapter().attach(eva_backbone_of("llama"))
    found = evaluate(model, train_file, metric="exact", max_new_tokens=4, show=lambda _: None)
    assert found.metric == "exact"
    assert set(found.scores) == {"adapter", "blind"}
    assert found.score == found.scores["adapter"].overall
    assert [answer.name for answer in found.answers] == [str(number) for number in range(8)]
    assert "blind" in found.table
    with pytest.raises(SettingsError, match="expected a file of questions"):
        evaluate(model)


def test_a_run_without_a_folder_is_refused() -> None:
    with pytest.raises(SettingsError, match="expected the folder of the run"):
        finetune("llava")


def test_a_module_and_its_data_run_under_a_plain_trainer(backbone_of: Any, adapter_of: Any, image_of: Any) -> None:

    from inlay.recipes import Stage
    from inlay.recipes.objectives.plan import Task

    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    user = Message("user", (MediaPart("image", image_of(0)), TextPart("what?")))
    rows = [Sample(f"s{n}", (user, Message("assistant", (TextPart("red"),))), "rows") for n in range(4)]
    stage = Stage(data="train", template="vicuna_v1", geometry="pad", lr={"lora": 1e-2}, batch_size=2)
    plan = stage.objective.plan(Task(stage=stage, model=model, sets=[rows]))
    before = {name: tensor.clone() for name, tensor in model.adapter.lora.state_dict().items()}
    silent_trainer(max_steps=plan.data.steps).fit(plan.module, datamodule=plan.data)
    after = model.adapter.lora.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("extras", "told"),
    [
        ({"trainer": {"accumulate_grad_batches": 2}}, "trainer: accumulate_grad_batches: set by the recipe"),
        ({"logger": "excel"}, "logger: expected csv, tensorboard, wandb, mlflow or a logger of Lightning, got 'excel'"),
        ({"logger": ["csv", "wandb"]}, "logger: wandb needs a package of that name: pip install wandb"),
    ],
)
def test_additions_that_cannot_be_are_refused_with_advice(extras: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        Extras(**extras)
