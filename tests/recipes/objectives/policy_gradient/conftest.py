"""Questions about tiny random pictures, a reward of any text, and a plan for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.plan import Task
from inlay.recipes.rewards.registry import register_reward
from inlay.recipes.settings.stage import Stage


def vowels(_: Any, answer: str, __: Sample) -> float:
    """Share of vowels: every answer can be scored, and most have different scores."""
    return sum(letter in "aeiou" for letter in answer) / max(1, len(answer))


@pytest.fixture(autouse=True)
def reward(own_registrations: None) -> None:
    register_reward("vowels", vowels, tokens=6)


@pytest.fixture
def rows(pairs: Any) -> list[Sample]:
    return [Sample(row.id, row.messages, row.origin) for row in pairs]


@pytest.fixture
def made(backbone_of: Any, adapter_of: Any, rows: Any) -> Any:
    """A function of the stage: module, data and tokenizer."""

    def make(stage: Stage, join: bool = True, validation: Any = ()) -> Any:
        torch.manual_seed(3)
        backbone = backbone_of()
        # A random head hardly tells tokens apart, and nothing behind a frozen norm can change that.
        backbone.llm.model.lm_head.weight.data.mul_(10)
        model = adapter_of(backbone).attach(backbone)
        if not join:
            model.reads_branches = lambda: False
        task = Task(stage=stage, model=model, sets=[rows], seed=7, validation=validation, show=lambda _: None)
        plan: Any = stage.objective.plan(task)
        return plan.module, plan.data, backbone.llm.tokenizer

    return make
