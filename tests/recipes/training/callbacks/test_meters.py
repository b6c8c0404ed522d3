"""The figures that a stage logs, against sums over its batches."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning_runs import silent_trainer

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.settings.stage import Stage
from inlay.recipes.training.callbacks import Meters

pytestmark = pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")


def test_every_step_has_its_rates_its_norm_its_tokens_and_its_epoch(
    backbone_of: Any, adapter_of: Any, image_of: Any, tmp_path: Path
) -> None:
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    rows = [
        Sample(
            f"s{n}",
            (
                Message("user", (MediaPart("image", image_of(n)), TextPart("what?"))),
                Message("assistant", (TextPart("red"),)),
            ),
            "rows",
        )
        for n in range(6)
    ]
    rates = {"inputs.image": 1e-3, "lora": 1e-4}
    stage = Stage(data="train", template="vicuna_v1", geometry="pad", lr=rates, batch_size=4, epochs=2.0)
    data = StageData(rows, model, stage, seed=0)
    module = NextTokenModule(model, stage, data.steps)
    norms: list[float] = []
    tokens = [int(batch.batch.mask.sum()) for batch in data.train_dataloader()]
    step = module.on_before_optimizer_step

    def note(optimizer: Any) -> None:
        grads = [p.grad for p in module.parameters() if p.grad is not None]
        norms.append(float(torch.cat([grad.flatten() for grad in grads]).norm()))
        step(optimizer)

    module.on_before_optimizer_step = note
    trainer = silent_trainer(
        max_steps=data.steps,
        logger=CSVLogger(tmp_path, name="run"),
        callbacks=[Meters(len(rows), stage.batch_size)],
        log_every_n_steps=1,
    )
    trainer.fit(module, datamodule=data)
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == data.steps == 3
    assert [float(row["tokens"]) for row in found] == [sum(tokens[: n + 1]) for n in range(3)]
    assert [float(row["epoch"]) for row in found] == pytest.approx([4 / 6, 8 / 6, 12 / 6])
    assert [float(row["gradient norm"]) for row in found] == pytest.approx(norms, rel=1e-4)
    assert all(0 < float(row["lr/lora"]) <= 1e-4 for row in found[:-1])
    assert all(float(row["samples/s"]) > 0 for row in found)
