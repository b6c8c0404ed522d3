"""The line of a validation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from inlay.recipes.settings.run import RunSettings
from inlay.recipes.training.callbacks.validation import Validation


@pytest.mark.parametrize(
    ("logged", "told"),
    [({}, "loss -0.5000"), ({"val/reward": 0.5}, "loss -0.5000, reward 0.5000")],
    ids=["loss", "policy gradient"],
)
def test_a_reward_is_shown_beside_its_loss(logged: dict[str, float], told: str) -> None:
    lines: list[str] = []
    validation = Validation(RunSettings(output=Path("run")), 3, None, lines.append)
    metrics = {name: torch.tensor(value) for name, value in ({"val/loss": -0.5} | logged).items()}
    trainer: Any = SimpleNamespace(callback_metrics=metrics, global_step=1)
    validation.on_validation_end(trainer, trainer)
    assert lines == [f"validation at step 1 of 3: {told}"]
