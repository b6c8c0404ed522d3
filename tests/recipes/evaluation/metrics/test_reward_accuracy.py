"""Reward accuracy by view of the medium."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.recipes.evaluation.metrics import MetricError, RewardAccuracy

CHOSEN, REJECTED = torch.tensor([0.1, -0.05, 0.2, 0.0]), torch.tensor([-0.05, 0.08, 0.2, -0.4])


def figures(metric: RewardAccuracy) -> dict[str, float]:
    return {name: value.item() for name, value in metric.compute().items()}


def test_the_check_values() -> None:
    metric = RewardAccuracy()
    beta, ratios, others = 0.1, torch.tensor([1.0, -0.5]), torch.tensor([-0.5, 0.8])
    metric.update(beta * ratios, beta * others)
    assert figures(metric) == pytest.approx({"right": 0.5, "margin/right": 0.01, "ties/right": 0.0}, abs=1e-8)


def test_a_tie_is_wrong_and_reported() -> None:
    metric = RewardAccuracy()
    metric.update(CHOSEN, REJECTED)
    got = figures(metric)
    assert (got["right"], got["ties/right"]) == (0.5, 0.25)
    assert got["margin/right"] == pytest.approx((0.15 - 0.13 + 0.0 + 0.4) / 4)


def test_views_are_kept_apart() -> None:
    metric = RewardAccuracy()
    metric.update(CHOSEN, REJECTED)
    metric.update(REJECTED, CHOSEN, view="other")
    assert (figures(metric)["right"], figures(metric)["other"]) == (0.5, 0.25)
    assert "blank" not in figures(metric)


def test_views_may_have_other_names() -> None:
    metric = RewardAccuracy(views=["image"])
    metric.update(CHOSEN, REJECTED, view="image")
    assert figures(metric)["image"] == 0.5


def test_two_processes_give_what_one_gives() -> None:
    first, second, whole = RewardAccuracy(), RewardAccuracy(), RewardAccuracy()
    first.update(CHOSEN[:1], REJECTED[:1])
    second.update(CHOSEN[1:], REJECTED[1:])
    second.update(REJECTED, CHOSEN, view="blank")
    whole.update(CHOSEN, REJECTED)
    whole.update(REJECTED, CHOSEN, view="blank")
    first.merge_state(second)
    assert figures(first) == pytest.approx(figures(whole))


def test_a_reset_forgets_everything() -> None:
    metric = RewardAccuracy()
    metric.update(CHOSEN, REJECTED)
    metric.reset()
    metric.update(CHOSEN[:1], REJECTED[:1])
    assert figures(metric)["right"] == 1.0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((CHOSEN, REJECTED[:3]), r"got \[4\] and \[3\]"),
        ((CHOSEN[0], REJECTED[0]), r"got \[\] and \[\]"),
        ((CHOSEN, REJECTED, "left"), "view: expected one of right, blank, other, got 'left'"),
        ((CHOSEN, REJECTED * float("nan")), "rewards: expected numbers, got nan"),
    ],
)
def test_rows_that_do_not_match_are_refused(given: Any, told: str) -> None:
    metric = RewardAccuracy()
    with pytest.raises(MetricError, match=told):
        metric.update(*given)
    assert metric.pairs.sum() == 0


@pytest.mark.parametrize("views", [[], ["right", "right"]])
def test_views_have_different_names(views: list[str]) -> None:
    with pytest.raises(MetricError, match="views: expected different names"):
        RewardAccuracy(views=views)
