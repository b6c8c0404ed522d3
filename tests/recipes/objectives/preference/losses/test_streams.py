"""The rows that losses compare: shapes, dtypes, the supervised term and rewards."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from preference_rows import checked_pairs, random_pairs

from inlay.recipes.objectives.preference.losses.streams import LossError


def test_micro_batches_add_up_to_the_step() -> None:
    pairs = random_pairs(6)
    mean = pairs.chosen_tokens.double().mean()
    halves = [
        type(pairs)(
            **{
                name: None if value is None else value[rows]
                for name, value in vars(pairs).items()
                if name != "mean_chosen_tokens"
            },
            mean_chosen_tokens=mean,
        )
        for rows in (slice(0, 2), slice(2, 6))
    ]
    torch.testing.assert_close(torch.cat([half.nll() for half in halves]), pairs.nll())


def test_a_share_of_the_likelihood_may_be_given() -> None:
    pairs = random_pairs()
    given = -pairs.chosen / pairs.chosen_tokens
    assert torch.equal(replace(pairs, chosen_nll=given).nll(), given)


def test_rewards_are_those_of_the_check_values() -> None:
    chosen, rejected = checked_pairs().rewards(0.1)
    assert (chosen > rejected).double().mean().item() == 0.5
    assert (chosen - rejected).mean().item() == pytest.approx(0.01, abs=1e-12)


def test_rewards_without_reference_are_log_probabilities() -> None:
    pairs = replace(checked_pairs(), ref_chosen=None)
    chosen, rejected = pairs.rewards(2.0, average=True)
    torch.testing.assert_close(chosen, 2 * torch.tensor([-12 / 6, -20 / 8]).double())
    torch.testing.assert_close(rejected, 2 * torch.tensor([-15 / 5, -18 / 9]).double())


def test_rewards_have_no_gradient() -> None:
    assert not any(reward.requires_grad for reward in random_pairs().rewards(0.1))


def test_half_precision_is_refused() -> None:
    with pytest.raises(
        LossError, match=r"rejected: expected log-probabilities in float32 or float64, got torch.bfloat16"
    ):
        random_pairs(rejected=torch.zeros(6, dtype=torch.bfloat16))


def test_integers_are_refused() -> None:
    with pytest.raises(
        LossError, match=r"ref_chosen: expected log-probabilities in float32 or float64, got torch.int64"
    ):
        random_pairs(ref_chosen=torch.zeros(6, dtype=torch.int64))


def test_rows_have_one_length() -> None:
    with pytest.raises(
        LossError, match=r"rejected_tokens: expected one number per row, \[6\] like chosen, got the shape \[5\]"
    ):
        random_pairs(rejected_tokens=torch.ones(5))
    with pytest.raises(LossError, match=r"chosen: expected one number per row, \[B\], got the shape \[6, 1\]"):
        random_pairs(chosen=torch.zeros(6, 1))
