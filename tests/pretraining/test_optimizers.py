from __future__ import annotations

import pytest
import torch
from torch import nn

from pretraining.optimizers import muon_and_adamw, scheduled


def _rates(*, steps: int, warm_up: int, decay: float) -> list[float]:
    optimizer, schedule = scheduled(
        torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0), steps=steps, warm_up=warm_up, decay=decay
    )
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_the_rate_rises_stays_and_falls() -> None:
    assert _rates(steps=10, warm_up=4, decay=0.5) == pytest.approx([0.5, 1, 1.5, 2, 2, 2, 1.6, 1.2, 0.8, 0.4])


def test_without_warm_up_and_decay_the_rate_is_constant() -> None:
    assert _rates(steps=5, warm_up=1, decay=0) == [2.0] * 5


def test_muon_gets_the_matrices_inside_the_layers_and_adamw_the_rest() -> None:
    model = nn.ModuleDict({"embeddings": nn.Embedding(3, 4), "layers": nn.ModuleList([nn.Linear(4, 4)])})
    (muon, _), (adamw, _) = muon_and_adamw(model, lr=1e-3, matrix_lr=1e-2, warm_up=1, decay=0.5, steps=10)
    held = [{id(p) for group in optimizer.param_groups for p in group["params"]} for optimizer in (muon, adamw)]
    layer = model["layers"][0]
    assert held == [{id(layer.weight)}, {id(layer.bias), id(model["embeddings"].weight)}]


def test_steps_of_muon_have_the_size_of_adamws() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(64, 32, bias=False)])})
    weight = model["layers"][0].weight
    before = weight.detach().clone()
    weight.grad = torch.randn_like(weight)
    (muon, _), _ = muon_and_adamw(
        nn.ModuleDict({**model, "rest": nn.Linear(1, 1)}), lr=1e-3, matrix_lr=1e-2, warm_up=1, decay=0, steps=10
    )
    muon.step()
    change = (weight - before * (1 - 1e-2 * 0.01)).square().mean().sqrt().item()
    assert 0.1 * 1e-2 < change < 0.3 * 1e-2  # an AdamW step of this rate has a root mean square of about 0.2
