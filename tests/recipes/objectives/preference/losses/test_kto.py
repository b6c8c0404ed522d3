"""KTO and APO for single answers, beside values computed elsewhere."""

from __future__ import annotations

import pytest
import torch
from preference_rows import random_answers

from inlay.recipes.objectives.preference.losses.kto import ApoZeroUnpaired, Kto, kl_estimate
from inlay.recipes.objectives.preference.losses.streams import LossError, UnpairedLogProbs


def test_the_check_value() -> None:
    rows = UnpairedLogProbs(
        answer=torch.tensor([-12.0, -18.0]).double(),
        ref_answer=torch.tensor([-13.0, -18.8]).double(),
        desirable=torch.tensor([True, False]),
        kl=torch.tensor(0.3).double(),
    )
    assert Kto()(rows).mean().item() == pytest.approx(0.497502, abs=5e-7)


def test_weights_scale_their_own_rows() -> None:
    rows = random_answers()
    weighted, plain = Kto(desirable_weight=4 / 3, undesirable_weight=0.5)(rows), Kto()(rows)
    torch.testing.assert_close(weighted, plain * torch.where(rows.desirable, 4 / 3, 0.5))


def test_different_weights_have_no_single_first_loss() -> None:
    assert Kto(desirable_weight=2.0, undesirable_weight=2.0).first_step() == 1.0
    assert Kto(desirable_weight=2.0).first_step() is None


def test_apo_zero_unpaired_is_kto_without_divergence() -> None:
    rows = random_answers()
    without = UnpairedLogProbs(**{**vars(rows), "kl": torch.tensor(0.0)})
    torch.testing.assert_close(ApoZeroUnpaired()(rows), Kto()(without))


def test_the_divergence_is_a_mean_of_at_least_0_without_gradient() -> None:
    policy = torch.tensor([-10.0, -12.0], requires_grad=True)
    kl = kl_estimate(policy, torch.tensor([-11.0, -11.5]))
    assert kl.item() == 0.25
    assert not kl.requires_grad
    assert kl_estimate(policy, torch.tensor([0.0, 0.0])).item() == 0.0


def test_a_batch_of_one_has_no_mismatched_row() -> None:
    with pytest.raises(
        LossError, match="a batch of one row has no answer of another row; use a larger batch, or the los"
    ):
        kl_estimate(torch.empty(0), torch.empty(0))


def test_both_models_read_the_same_mismatched_rows() -> None:
    with pytest.raises(LossError, match=r"the same mismatched rows \[M\] from both models, got \[2\] and \[3\]"):
        kl_estimate(torch.zeros(2), torch.zeros(3))


def test_weights_are_not_negative() -> None:
    with pytest.raises(LossError, match="kto: undesirable_weight: expected a number of at least 0, got -1"):
        Kto(undesirable_weight=-1)
