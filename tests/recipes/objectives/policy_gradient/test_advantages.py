"""Advantages of groups of sampled answers."""

from __future__ import annotations

import statistics

import pytest
import torch

from inlay.recipes.objectives.policy_gradient.advantages import (
    PolicyError,
    centred,
    group_normalised,
    leave_one_out,
    undecided,
)

REWARDS = torch.tensor([[1.0, 0.0, 0.25, 0.5], [2.0, 2.0, 2.0, 0.0]], dtype=torch.float64)


def test_grpo_divides_by_the_standard_deviation_of_the_group() -> None:
    expected = [
        [(reward - statistics.mean(group)) / (statistics.stdev(group) + 1e-4) for reward in group]
        for group in REWARDS.tolist()
    ]
    torch.testing.assert_close(group_normalised(REWARDS), torch.tensor(expected, dtype=torch.float64))


def test_dr_grpo_only_subtracts_the_mean() -> None:
    expected = [[reward - statistics.mean(group) for reward in group] for group in REWARDS.tolist()]
    torch.testing.assert_close(centred(REWARDS), torch.tensor(expected, dtype=torch.float64))


def test_rloo_leaves_the_answer_itself_out() -> None:
    expected = [
        [reward - statistics.mean(group[:place] + group[place + 1 :]) for place, reward in enumerate(group)]
        for group in REWARDS.tolist()
    ]
    torch.testing.assert_close(leave_one_out(REWARDS), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("advantages", [group_normalised, centred, leave_one_out])
def test_equal_rewards_have_no_advantage(advantages: object) -> None:
    assert advantages(torch.full((2, 3), 0.7)).abs().max().item() < 1e-3


@pytest.mark.parametrize("advantages", [group_normalised, centred, leave_one_out])
def test_advantages_of_a_group_sum_to_0(advantages: object) -> None:
    torch.testing.assert_close(advantages(REWARDS).sum(dim=1), torch.zeros(2).double())


def test_undecided_groups_are_found() -> None:
    assert undecided(torch.tensor([[1.0, 1.0], [1.0, 0.0]])).tolist() == [True, False]


@pytest.mark.parametrize("advantages", [group_normalised, centred, leave_one_out])
@pytest.mark.parametrize(
    ("rewards", "told"),
    [
        (torch.zeros(4), r"got torch.float32 \[4\]"),
        (torch.zeros(4, 1), r"at least 2 answers for each question, got torch.float32 \[4, 1\]"),
        (torch.zeros(2, 2, dtype=torch.int64), r"expected floats \[groups, answers\]"),
        (
            torch.tensor([[0.0, 1.0], [0.0, float("nan")]]),
            r"got nan for answer 1 of group 1; return a number for every",
        ),
    ],
)
def test_rewards_that_cannot_be_compared_are_refused(advantages: object, rewards: torch.Tensor, told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        advantages(rewards)
