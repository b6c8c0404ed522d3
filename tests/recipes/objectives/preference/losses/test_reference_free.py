"""SimPO, CPO and ORPO, beside values computed elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from preference_rows import checked_pairs, random_pairs

from inlay.recipes.objectives.preference.losses.reference_free import Cpo, Orpo, Simpo, log1mexp
from inlay.recipes.objectives.preference.losses.streams import LossError


def test_the_check_values() -> None:
    pairs = checked_pairs()
    assert Simpo(beta=2.0, gamma=1.0)(pairs).mean().item() == pytest.approx(1.220095, abs=5e-7)
    assert Orpo().odds_term(pairs).mean().item() == pytest.approx(0.650223, abs=5e-7)
    assert pairs.nll().mean().item() == pytest.approx(2.285714, abs=5e-7)
    assert Orpo()(pairs).mean().item() == pytest.approx(2.350737, abs=5e-7)


def test_cpo_is_dpo_with_a_flat_reference_and_a_supervised_term() -> None:
    pairs = random_pairs()
    plain = -torch.nn.functional.logsigmoid(0.1 * (pairs.chosen - pairs.rejected))
    torch.testing.assert_close(Cpo(alpha=0.0)(pairs), plain)
    torch.testing.assert_close(
        Cpo(alpha=0.5)(pairs).mean(), plain.mean() - 0.5 * pairs.chosen.sum() / pairs.chosen_tokens.sum()
    )


def test_odds_are_those_of_the_mean_probabilities() -> None:
    pairs = random_pairs()
    chosen, rejected = (pairs.chosen / pairs.chosen_tokens).exp(), (pairs.rejected / pairs.rejected_tokens).exp()
    odds = (chosen / (1 - chosen)) / (rejected / (1 - rejected))
    torch.testing.assert_close(Orpo().odds_term(pairs), -torch.nn.functional.logsigmoid(odds.log()))


@pytest.mark.parametrize("x", [-1e-7, -1e-3, -0.5, -math.log(2), -0.7, -5.0, -40.0, -100.0])
def test_log1mexp_is_accurate_in_both_branches(x: float) -> None:
    got = log1mexp(torch.tensor([x], dtype=torch.float64)).item()
    assert got == pytest.approx(math.log(-math.expm1(x)) if x > -1 else math.log1p(-math.exp(x)), rel=1e-14)


def test_log1mexp_keeps_gradients_finite_near_0() -> None:
    x = torch.tensor([-1e-9, -1e-7, -100.0], requires_grad=True)
    log1mexp(x).sum().backward()
    assert x.grad.isfinite().all()


def test_a_certain_answer_has_finite_odds() -> None:
    certain = torch.zeros(6, dtype=torch.float32).requires_grad_()
    loss = Orpo()(random_pairs(dtype=torch.float32, chosen=certain))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert certain.grad.isfinite().all()


@pytest.mark.parametrize(("kind", "setting"), [(Simpo, "gamma"), (Cpo, "alpha")])
def test_settings_have_limits(kind: type, setting: str) -> None:
    with pytest.raises(LossError, match=f"{kind.name}: {setting}: expected a number of at least 0, got -1"):
        kind(**{setting: -1})
