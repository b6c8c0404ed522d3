"""DPOP, beside values computed elsewhere."""

from __future__ import annotations

import pytest
import torch
from preference_rows import checked_pairs, random_pairs

from inlay.recipes.objectives.preference.losses.anchored import Dpop
from inlay.recipes.objectives.preference.losses.dpo import Sigmoid
from inlay.recipes.objectives.preference.losses.streams import LossError


def test_the_check_value() -> None:
    assert Dpop(penalty=50.0)(checked_pairs()).mean().item() == pytest.approx(13.190608, abs=5e-7)


def test_the_paper_subtracts_the_penalty_inside() -> None:
    pairs = checked_pairs()
    # The chosen answer of the second pair lost 0.5 nats, Δ is 1.5 and -1.3.
    expected = -torch.nn.functional.logsigmoid(0.1 * torch.tensor([1.5, -1.3 - 50 * 0.5], dtype=torch.float64))
    torch.testing.assert_close(Dpop(inside=True)(pairs), expected)


def test_a_chosen_answer_that_gets_more_likely_has_no_penalty() -> None:
    pairs = random_pairs(ref_chosen=-40 * torch.ones(6).double())
    for inside in (False, True):
        torch.testing.assert_close(Dpop(inside=inside)(pairs), Sigmoid()(pairs))


def test_a_penalty_is_not_negative() -> None:
    with pytest.raises(LossError, match="dpop: penalty: expected a number of at least 0, got -1"):
        Dpop(penalty=-1)
