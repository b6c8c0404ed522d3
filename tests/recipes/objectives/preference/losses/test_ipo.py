"""IPO and SPPO, beside values computed elsewhere."""

from __future__ import annotations

import pytest
import torch
from preference_rows import checked_pairs, random_pairs

from inlay.recipes.objectives.preference.losses.ipo import Ipo, SppoHard


def test_the_check_values() -> None:
    pairs = checked_pairs()
    assert Ipo()(pairs).mean().item() == pytest.approx(24.470626, abs=5e-7)
    assert SppoHard()(pairs).mean().item() == pytest.approx(50.07, abs=5e-7)


def test_ipo_is_0_at_its_target() -> None:
    ones = torch.ones(6, dtype=torch.float64)
    pairs = random_pairs(
        chosen=5 * ones, ref_chosen=0 * ones, rejected=0 * ones, ref_rejected=0 * ones, chosen_tokens=ones
    )
    assert Ipo(beta=0.1)(pairs).tolist() == [0.0] * 6


def test_sppo_is_0_where_both_answers_are_half_a_unit_away() -> None:
    ones = torch.ones(6, dtype=torch.float64)
    pairs = random_pairs(chosen=5 * ones, ref_chosen=0 * ones, rejected=-5 * ones, ref_rejected=0 * ones)
    assert SppoHard(beta=0.1)(pairs).tolist() == [0.0] * 6
