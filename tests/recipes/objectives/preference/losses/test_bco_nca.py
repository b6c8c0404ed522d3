"""BCO and NCA, beside values computed elsewhere."""

from __future__ import annotations

import pytest
import torch
from preference_rows import checked_pairs, random_pairs, untouched

from inlay.recipes.objectives.preference.losses.bco_nca import BcoPair, NcaPair
from inlay.recipes.objectives.preference.losses.streams import LossError


def test_the_check_values() -> None:
    pairs = checked_pairs()
    assert BcoPair()(pairs).mean().item() == pytest.approx(1.382631, abs=5e-7)
    assert NcaPair()(pairs).mean().item() == pytest.approx(1.385244, abs=5e-7)


def test_bco_is_the_cross_entropy_of_a_classifier() -> None:
    pairs, bco = random_pairs(), BcoPair(beta=0.3, shift=0.2)
    logits = 0.3 * torch.cat([pairs.ratio("chosen"), pairs.ratio("rejected")]) - 0.2
    labels = torch.tensor([1.0] * 6 + [0.0] * 6, dtype=torch.float64)
    entropies = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    torch.testing.assert_close(bco(pairs), entropies[:6] + entropies[6:])


def test_the_first_loss_follows_the_shift() -> None:
    bco = BcoPair(shift=0.7)
    values = bco(untouched(random_pairs()))
    torch.testing.assert_close(values, torch.full_like(values, bco.first_step()))


def test_a_shift_is_finite() -> None:
    with pytest.raises(LossError, match="bco_pair: shift: expected a finite number, got nan"):
        BcoPair(shift=float("nan"))
