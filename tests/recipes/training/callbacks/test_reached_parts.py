"""Parts that no batch of a stage reached are named at its end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning_runs import silent_trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from inlay.recipes.training.callbacks import ReachedParts


class Two(LightningModule):
    """Two parts; a batch says which of them it reaches."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__()
        self.adapter = nn.ModuleDict({"one": nn.Linear(1, 1), "two": nn.Linear(1, 3)})
        self.adapter["two"].requires_grad_(not frozen)
        self.idle: tuple[str, ...] = ()

    def training_step(self, batch: Tensor, _: int) -> Any:
        self.idle = ("adapter.two.",) if batch.item() == 0 else ()
        return self.adapter["one"](torch.ones(1, 1)).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(batches: list[float], module: LightningModule, watch: ReachedParts) -> None:
    trainer = silent_trainer(max_epochs=1, callbacks=[watch])
    trainer.fit(module, DataLoader(torch.tensor(batches)))  # a tensor is a data set


@pytest.mark.parametrize(("batches", "named"), [([0, 0, 0], True), ([0, 1, 0], False)])
@pytest.mark.filterwarnings("ignore")
def test_a_part_is_named_if_no_batch_reached_it(batches: list[float], named: bool) -> None:
    lines: list[str] = []
    fit(batches, Two(), ReachedParts(lines.append))
    assert [line.partition(":")[0] for line in lines] == ["no batch of this stage used two"] * named


@pytest.mark.filterwarnings("ignore")
def test_a_frozen_part_is_not_named() -> None:
    lines: list[str] = []
    fit([0, 0], Two(frozen=True), ReachedParts(lines.append))
    assert lines == []


@pytest.mark.filterwarnings("ignore")
def test_a_resumed_stage_remembers_what_it_reached() -> None:
    lines: list[str] = []
    before, after = ReachedParts(lines.append), ReachedParts(lines.append)
    fit([1], Two(), before)
    after.load_state_dict(before.state_dict())
    fit([0], Two(), after)
    assert lines == []
