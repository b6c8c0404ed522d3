"""DPO and losses on the same difference, beside values computed elsewhere."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from preference_rows import checked_pairs, random_pairs

from inlay.recipes.objectives.preference.losses.dpo import (
    Contrast,
    Discopop,
    ExoPair,
    Hinge,
    Robust,
    Sigmoid,
    SigmoidNorm,
)
from inlay.recipes.objectives.preference.losses.streams import LossError


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Sigmoid(), 0.690608),
        (Sigmoid(label_smoothing=0.1), 0.691608),
        (Robust(label_smoothing=0.1), 0.689358),
        (Hinge(), 0.99),
        (SigmoidNorm(beta=0.1), 0.690324),
        (ExoPair(label_smoothing=1e-3), 2.746505),
    ],
    ids=lambda value: value.name if isinstance(value, Contrast) else "",
)
def test_the_check_values(loss: Contrast, expected: float) -> None:
    assert loss(checked_pairs()).mean().item() == pytest.approx(expected, abs=5e-7)


def test_cdpo_without_smoothing_is_dpo() -> None:
    pairs = random_pairs()
    assert torch.equal(Sigmoid(label_smoothing=0.0)(pairs), Sigmoid()(pairs))


def test_robust_is_unbiased_under_swapped_labels() -> None:
    pairs = random_pairs()
    swapped = random_pairs(
        chosen=pairs.rejected, rejected=pairs.chosen, ref_chosen=pairs.ref_rejected, ref_rejected=pairs.ref_chosen
    )
    robust = Robust(label_smoothing=0.2)
    torch.testing.assert_close(0.8 * robust(pairs) + 0.2 * robust(swapped), Sigmoid()(pairs))


def test_exo_is_the_divergence_of_two_distributions() -> None:
    pairs, exo = random_pairs(), ExoPair(label_smoothing=0.05)
    model = torch.stack([exo.logits(pairs), torch.zeros(6)], dim=1).log_softmax(dim=1)
    labels = torch.tensor([0.95, 0.05], dtype=torch.float64).log().expand(6, 2)
    expected = torch.nn.functional.kl_div(labels, model, reduction="none", log_target=True).sum(dim=1)
    torch.testing.assert_close(exo(pairs), expected)


def test_discopop_blends_both_parts() -> None:
    pairs, loss = random_pairs(), Discopop(tau=0.5)
    z = loss.logits(pairs)
    blend = torch.sigmoid(z / 0.5)
    torch.testing.assert_close(loss(pairs), (1 - blend) * -torch.nn.functional.logsigmoid(z) + blend * torch.exp(-z))


def test_average_differences_do_not_depend_on_repetition() -> None:
    pairs = random_pairs()
    twice = random_pairs(
        **{name: 2 * getattr(pairs, name) for name in ("chosen", "rejected", "ref_chosen", "ref_rejected")},
        **{name: 2 * getattr(pairs, name) for name in ("chosen_tokens", "rejected_tokens")},
    )
    torch.testing.assert_close(SigmoidNorm()(twice), SigmoidNorm()(pairs))


@pytest.mark.parametrize(
    ("divergence", "derivative"),
    [
        ("reverse_kl", lambda u, _: math.log(u) + 1),
        ("forward_kl", lambda u, _: -1 / u),
        ("js", lambda u, _: math.log(2 * u / (1 + u))),
        ("alpha", lambda u, alpha: (u ** (alpha - 1)) / (alpha - 1)),
    ],
)
def test_scores_are_derivatives_of_the_divergence_up_to_a_constant(divergence: Any, derivative: Any) -> None:
    ratios = torch.tensor([-2.0, -0.5, 0.0, 0.7, 3.0], dtype=torch.float64)
    score = Contrast.score(Sigmoid(divergence=divergence, alpha=0.3), ratios)
    expected = torch.tensor([derivative(math.exp(a), 0.3) - derivative(1.0, 0.3) for a in ratios.tolist()])
    torch.testing.assert_close(score, expected.double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("divergence", ["reverse_kl", "forward_kl", "js", "alpha"])
@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_scores_of_extreme_ratios_are_finite_in_float32(divergence: Any, alpha: float) -> None:
    ratios = torch.tensor([-1e4, -200.0, 200.0, 1e4], requires_grad=True)
    score = Sigmoid(divergence=divergence, alpha=alpha).score(ratios)
    score.sum().backward()
    assert score.isfinite().all()
    assert ratios.grad.isfinite().all()


def test_alpha_1_is_the_reverse_divergence() -> None:
    pairs = random_pairs()
    torch.testing.assert_close(Sigmoid(divergence="alpha", alpha=1.0)(pairs), Sigmoid()(pairs))


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        (Sigmoid, "label_smoothing", 0.6),
        (Robust, "label_smoothing", 0.5),
        (ExoPair, "label_smoothing", 0.0),
        (Discopop, "tau", 0.0),
    ],
)
def test_settings_have_limits(kind: type[Contrast], setting: str, value: float) -> None:
    with pytest.raises(LossError, match=f"{kind.name}: {setting}: expected a number .*, got {value}"):
        kind(**{setting: value})
