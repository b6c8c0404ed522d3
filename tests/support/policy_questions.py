"""Stages and batches of training on rewards."""

from __future__ import annotations

from typing import Any

import torch
from preference_stages import stage_of

from inlay.recipes.objectives.policy_gradient.settings import Grpo
from inlay.recipes.settings.stage import Stage


def stage(settings: Grpo, **fields: Any) -> Stage:
    return stage_of(settings, **{"batch_size": 2, **fields})


def batch_of(data: Any, count: int = 2) -> Any:
    """The first questions in order."""
    return data.collate([data.read(0, index) for index in range(count)])


def gradients(module: Any, data: Any, count: int = 2) -> list[torch.Tensor]:
    """Of the loss of the first questions."""
    module.train()
    loss = module.terms(batch_of(data, count))["policy"].mean
    trained = [parameter for parameter in module.adapter.parameters() if parameter.requires_grad]
    return list(torch.autograd.grad(loss, trained))
