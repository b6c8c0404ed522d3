"""The policy loss, by hand for small cases."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from inlay.recipes.objectives.policy_gradient.advantages import PolicyError
from inlay.recipes.objectives.policy_gradient.policy_loss import (
    PolicySettings,
    SampledAnswers,
    policy_loss,
)

MASK = torch.tensor([[True, True, True, True], [True, True, False, False]])
MODES = [
    PolicySettings(averaging="grpo"),
    PolicySettings(averaging="dapo"),
    PolicySettings(averaging="dr_grpo", max_tokens=8),
    PolicySettings(averaging="rloo"),
]
BY_MODE = pytest.mark.parametrize("settings", MODES, ids=lambda settings: settings.averaging)


def sampled(**given: Any) -> SampledAnswers:
    generator = torch.Generator().manual_seed(0)
    log_probs = -torch.rand(2, 4, generator=generator, dtype=torch.float64)
    fields: dict[str, Any] = {
        "log_probs": log_probs.clone().requires_grad_(),
        "old_log_probs": log_probs + 0.3 * torch.randn(2, 4, generator=generator, dtype=torch.float64),
        "ref_log_probs": log_probs - 0.2,
        "mask": MASK,
        "advantages": torch.tensor([1.0, -0.5], dtype=torch.float64),
    }
    return SampledAnswers(**(fields | given))


def by_hand(answers: SampledAnswers, settings: PolicySettings) -> list[float]:
    """The losses of the answers in plain Python."""
    losses = []
    for row in range(2):
        places = [place for place in range(4) if MASK[row, place]]
        now, old, ref = (getattr(answers, f"{name}log_probs")[row].tolist() for name in ("", "old_", "ref_"))
        advantage = answers.advantages[row].item()

        def clipped(ratio: float, advantage: float = advantage) -> float:
            inside = min(max(ratio, 1 - settings.clip_low), 1 + settings.clip_high)
            return -min(ratio * advantage, inside * advantage)

        kl = [math.exp(ref[p] - now[p]) - (ref[p] - now[p]) - 1 for p in places]
        if settings.averaging == "rloo":
            total = clipped(math.exp(sum(now[p] - old[p] for p in places))) + settings.kl_weight * sum(kl)
        else:
            tokens = [clipped(math.exp(now[p] - old[p])) for p in places]
            total = sum(token + settings.kl_weight * k for token, k in zip(tokens, kl, strict=True))
            total /= {"grpo": len(places), "dapo": 3.0, "dr_grpo": 8.0}[settings.averaging]
        losses.append(total)
    return losses


@BY_MODE
@pytest.mark.parametrize("kl_weight", [0.0, 0.3])
def test_the_formula(settings: PolicySettings, kl_weight: float) -> None:
    settings, answers = replace(settings, kl_weight=kl_weight, clip_low=0.1, clip_high=0.15), sampled()
    assert policy_loss(answers, settings)[0].tolist() == pytest.approx(by_hand(answers, settings), abs=1e-12)


@BY_MODE
def test_gradients_are_those_of_the_formula(settings: PolicySettings) -> None:
    answers, settings = sampled(), replace(settings, kl_weight=0.3)
    assert torch.autograd.gradcheck(
        lambda log_probs: policy_loss(replace(answers, log_probs=log_probs), settings)[0], (answers.log_probs,)
    )


def test_the_first_use_of_a_sample_has_the_gradient_of_the_policy_gradient() -> None:
    answers = sampled(old_log_probs=None)
    policy_loss(answers, PolicySettings(averaging="grpo"))[0].sum().backward()
    expected = -answers.advantages[:, None] * MASK / MASK.sum(dim=1, keepdim=True)
    torch.testing.assert_close(answers.log_probs.grad, expected)


def test_a_token_is_clipped_only_where_the_advantage_would_move_it_further() -> None:
    # Ratios e, 1 and 1/e in both rows; the range is 0.8 to 1.2.
    log_probs = torch.tensor([[0.0, -1.0, -2.0]] * 2, dtype=torch.float64).requires_grad_()
    answers = SampledAnswers(
        log_probs=log_probs,
        old_log_probs=torch.full((2, 3), -1.0, dtype=torch.float64),
        mask=torch.ones(2, 3).bool(),
        advantages=torch.tensor([1.0, -1.0], dtype=torch.float64),
    )
    losses, figures = policy_loss(answers, PolicySettings())
    losses.sum().backward()
    assert (log_probs.grad != 0).tolist() == [[False, True, True], [True, True, False]]
    assert figures.means() == pytest.approx({"kl": 0.0, "clip_low": 1 / 6, "clip_high": 1 / 6, "clip_share": 1 / 3})


@BY_MODE
def test_masked_positions_may_hold_anything(settings: PolicySettings) -> None:
    settings, answers = replace(settings, kl_weight=0.3), sampled()
    spoilt = {
        name: torch.where(MASK, getattr(answers, name).detach(), value)
        for name, value in (("log_probs", -torch.inf), ("old_log_probs", -torch.inf), ("ref_log_probs", torch.nan))
    }
    log_probs = spoilt.pop("log_probs").requires_grad_()
    losses, figures = policy_loss(replace(answers, log_probs=log_probs, **spoilt), settings)
    losses.sum().backward()
    torch.testing.assert_close(losses, policy_loss(answers, settings)[0])
    assert (log_probs.grad[~MASK] == 0).all()
    assert math.isfinite(figures.means()["kl"])


def test_the_divergence_is_0_at_the_reference_and_above_0_elsewhere() -> None:
    answers = sampled()
    same = replace(answers, ref_log_probs=answers.log_probs.detach())
    assert policy_loss(same, PolicySettings())[1].means()["kl"] == 0.0
    assert policy_loss(answers, PolicySettings())[1].means()["kl"] == pytest.approx(math.exp(-0.2) + 0.2 - 1)


def test_micro_batches_of_dapo_add_up_to_the_step() -> None:
    answers, settings = sampled(), PolicySettings()
    whole = policy_loss(answers, settings)[0].mean()
    parts = []
    for row in (slice(0, 1), slice(1, 2)):
        part = {name: value[row] for name, value in vars(answers).items() if value is not None}
        parts.append(policy_loss(SampledAnswers(**part, mean_tokens=3.0), settings)[0])
    torch.testing.assert_close(torch.cat(parts).mean(), whole)


def test_a_missing_reference_is_explained() -> None:
    with pytest.raises(PolicyError, match=r"kl_weight 0\.1: expected ref_log_probs, got none; run the reference"):
        policy_loss(sampled(ref_log_probs=None), PolicySettings(kl_weight=0.1))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mask": MASK[:, :3]}, r"mask: expected \[B, T\] \[2, 4\] like log_probs, got \[2, 3\]"),
        ({"advantages": torch.zeros(2, 4)}, r"advantages: expected \[B\] \[2\], got \[2, 4\]"),
    ],
)
def test_shapes_are_checked(given: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        policy_loss(sampled(**given), PolicySettings())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"averaging": "mean"}, "averaging: expected one of grpo, dapo, dr_grpo, rloo, got 'mean'"),
        ({"averaging": "dr_grpo"}, "dr_grpo: expected max_tokens above 0, got None"),
        ({"clip_low": 1.5}, r"expected clip_low from 0 to 1, .* got 1\.5"),
        ({"kl_weight": -0.1}, "kl_weight of at least 0"),
    ],
)
def test_settings_have_limits(given: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        PolicySettings(**given)
