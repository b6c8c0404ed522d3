"""The progress of a stage: optimizer steps, the figures of the log, and nothing in other processes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning_runs import silent_trainer
from torch import Tensor
from torch.utils.data import DataLoader

from inlay.recipes.training.callbacks import stage_progress
from inlay.recipes.training.callbacks.stage_progress import StageProgress


class _Module(LightningModule):
    """One weight; the second step fails if asked to."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.weight, self.fails = torch.nn.Parameter(torch.ones(())), fails

    def training_step(self, batch: Tensor, number: int) -> Tensor:
        if self.fails and self.trainer.global_step == 1:
            raise ValueError("a bad batch")
        self.log("loss", torch.tensor(0.5), prog_bar=True)
        return self.weight * batch.sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(steps: int, *, accumulate: int = 1, fails: bool = False) -> None:
    trainer = silent_trainer(
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        enable_progress_bar=True,
        callbacks=[StageProgress("align", steps)],
    )
    trainer.fit(_Module(fails), DataLoader(torch.ones(steps * accumulate, 1), num_workers=0))


def test_a_log_has_one_line_in_optimizer_steps(capsys: Any) -> None:
    fit(20, accumulate=2)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("align")]
    assert len(lines) == 1
    assert lines[0].startswith("align 20/20, loss 0.5, ")


class _Validated(_Module):
    """With a validation loss that falls."""

    loss = 4.0

    def validation_step(self, batch: Tensor, number: int) -> None:
        self.loss /= 2
        self.log("val/loss", torch.tensor(self.loss), prog_bar=True)


def test_the_last_line_has_the_last_validation(capsys: Any) -> None:
    trainer = silent_trainer(
        max_steps=4,
        num_sanity_val_steps=0,
        val_check_interval=2,
        enable_progress_bar=True,
        callbacks=[StageProgress("align", 4)],
    )
    rows = DataLoader(torch.ones(4, 1), num_workers=0)
    trainer.fit(_Validated(), rows, DataLoader(torch.ones(1, 1), num_workers=0))
    assert "val/loss 1," in capsys.readouterr().err


def test_an_error_ends_the_progress(capsys: Any) -> None:
    with pytest.raises(ValueError, match="a bad batch"):
        fit(20, fails=True)
    assert "align 1/20" in capsys.readouterr().err


def test_other_processes_show_nothing(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_progress, "is_first", lambda: False)
    fit(5)
    assert "align" not in capsys.readouterr().err
