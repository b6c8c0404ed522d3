"""Weighted sums of losses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from preference_rows import random_pairs

from inlay.recipes.objectives.preference.losses.bco_nca import BcoPair
from inlay.recipes.objectives.preference.losses.dpo import Hinge, Sigmoid
from inlay.recipes.objectives.preference.losses.kto import Kto
from inlay.recipes.objectives.preference.losses.multimodal import Mdpo
from inlay.recipes.objectives.preference.losses.streams import LossError
from inlay.recipes.objectives.preference.losses.sums import Mpo, Rpo, Sft, WeightedSum


def test_mpo_has_the_published_weights() -> None:
    pairs = random_pairs()
    expected = 0.8 * Sigmoid()(pairs) + 0.2 * BcoPair()(pairs) + 1.0 * Sft()(pairs)
    torch.testing.assert_close(Mpo()(pairs), expected)


def test_mpo_passes_its_settings_on() -> None:
    pairs = random_pairs()
    expected = 0.8 * Sigmoid(beta=0.5)(pairs) + 0.2 * BcoPair(beta=0.5, shift=0.3)(pairs) + Sft()(pairs)
    torch.testing.assert_close(Mpo(beta=0.5, shift=0.3)(pairs), expected)


def test_rpo_adds_the_likelihood_per_token_of_all_chosen_answers() -> None:
    pairs = random_pairs()
    expected = Sigmoid()(pairs).mean() - 0.5 * pairs.chosen.sum() / pairs.chosen_tokens.sum()
    torch.testing.assert_close(Rpo(alpha=0.5)(pairs).mean(), expected)


def test_a_sum_needs_what_its_terms_need() -> None:
    total = WeightedSum(terms=((0.5, Mdpo()), (1.0, Sft())))
    assert total.needs == Mdpo.needs
    assert total.batch_level
    assert not WeightedSum(terms=((1.0, Sigmoid()),)).batch_level


def test_first_losses_add_up_where_all_are_known() -> None:
    assert WeightedSum(terms=((2.0, Sigmoid()), (0.5, Hinge()))).first_step() == pytest.approx(2 * math.log(2) + 0.5)
    assert WeightedSum(terms=((1.0, Sigmoid()), (1.0, Sft()))).first_step() is None


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ((), "expected at least one loss"),
        (((0.0, Sigmoid()),), "expected weights above 0, got 0.0 for sigmoid"),
        (((1.0, Kto()),), "expected losses of pairs, got kto"),
    ],
)
def test_a_sum_of_nothing_or_of_single_answers_is_refused(terms: Any, told: str) -> None:
    with pytest.raises(LossError, match=told):
        WeightedSum(terms=terms)


@pytest.mark.parametrize(("kind", "setting"), [(Rpo, "alpha"), (Mpo, "quality_weight")])
def test_weights_are_above_0(kind: type, setting: str) -> None:
    with pytest.raises(LossError, match=f"{kind.name}: {setting}: expected a number above 0, got 0"):
        kind(**{setting: 0})
