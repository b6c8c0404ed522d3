"""Preference tuning in the training loop: one gradient however a step is cut, and the frozen models stay."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from preference_stages import stage_of
from step_ways import assert_same, way

from inlay.recipes.objectives.plan import Task
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.settings.stage import Stage


@pytest.fixture
def made(backbone_of: Any, adapter_of: Any, with_second: Any) -> Any:
    """A function of the stage: module, data and tokenizer."""

    def make(stage: Stage) -> Any:
        torch.manual_seed(3)
        backbone = backbone_of()
        model = adapter_of(backbone).attach(backbone)
        task = Task(stage=stage, model=model, sets=[with_second], seed=7, show=lambda _: None)
        plan: Any = stage.objective.plan(task)
        return plan.module, plan.data, backbone.llm.tokenizer

    return make


@pytest.mark.parametrize("loss", ["sigmoid", "mdpo", "rpo"])
@pytest.mark.parametrize("reference", ["live", "stored"])
def test_a_step_has_one_gradient(made: Any, tmp_path: Path, loss: str, reference: Any) -> None:
    stage = stage_of(Preference(loss=loss, reference=reference), epochs=3.0)
    one = way(made, stage, 1, 1, tmp_path / "one", sgd=True, short=3)
    for processes, accumulate in [(1, 4), (2, 1), (2, 2)]:
        if processes == 2 and (loss != "mdpo" or reference == "stored"):
            continue
        two = way(made, stage, processes, accumulate, tmp_path / f"{processes}-{accumulate}", sgd=True, short=3)
        assert_same(one, two)


def test_the_usual_figures_are_logged(made: Any, tmp_path: Path) -> None:
    way(made, stage_of(Preference(), epochs=3.0), 1, 1, tmp_path, sgd=True, short=0)
    (path,) = tmp_path.rglob("metrics.csv")
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["loss"]]
    names = {"rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"}
    assert names | {"logps/chosen", "logps/rejected", "logps/chosen_above_reference"} <= set(rows[0])
    assert float(rows[-1]["rewards/margins"]) > 0
