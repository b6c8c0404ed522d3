"""APO, beside values computed elsewhere."""

from __future__ import annotations

import pytest
import torch
from preference_rows import checked_pairs, random_pairs

from inlay.recipes.objectives.preference.losses.apo import ApoDown, ApoZero


def test_the_check_values() -> None:
    pairs = checked_pairs()
    assert ApoZero()(pairs).mean().item() == pytest.approx(0.997505, abs=5e-7)
    assert ApoDown()(pairs).mean().item() == pytest.approx(1.003753, abs=5e-7)


def test_zero_raises_and_down_lowers_the_chosen_answer() -> None:
    pairs = random_pairs(
        chosen=torch.zeros(6).double(), ref_chosen=torch.zeros(6).double(), rejected=-9 * torch.ones(6).double()
    )
    for loss, sign in ((ApoZero(), -1.0), (ApoDown(), 1.0)):
        chosen = pairs.chosen.clone().requires_grad_()
        loss(random_pairs(**{**vars(pairs), "chosen": chosen})).sum().backward()
        assert chosen.grad.sign().tolist() == [sign] * 6


def test_both_lower_the_rejected_answer() -> None:
    pairs = random_pairs()
    for loss in (ApoZero(), ApoDown()):
        rejected = pairs.rejected.detach().requires_grad_()
        loss(random_pairs(**{**vars(pairs), "rejected": rejected})).sum().backward()
        assert rejected.grad.sign().tolist() == [1.0] * 6
