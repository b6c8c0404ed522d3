"""The paired bootstrap against a direct computation that draws the questions and scores them again."""

from __future__ import annotations

import random

import numpy as np
import pytest
from benchmark_files import MME

from inlay.recipes.evaluation.benchmarks.benchmark import Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.bootstrap import paired_bootstrap
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.questions import mme
from inlay.recipes.evaluation.errors import BenchmarkError


def _scored(values: list[float]) -> Scored:
    return Scored({"accuracy": 100 * sum(values) / len(values)}, [(value, 1) for value in values], mean_of_counts)


def test_the_interval_is_that_of_a_direct_computation() -> None:
    draw = random.Random(0)
    clusters = [f"picture {n % 40}" for n in range(120)]
    items = [Item(str(n), (), cluster=name) for n, name in enumerate(clusters)]
    one, other = ([float(draw.random() < share) for _ in items] for share in (0.8, 0.6))
    found = paired_bootstrap(items, _scored(one), _scored(other), resamples=400, seed=7)
    draws, differences = np.random.default_rng(7), []
    names = list(dict.fromkeys(clusters))
    for _ in range(400):
        drawn = [names[place] for place in draws.integers(40, size=40)]
        places = [place for name in drawn for place, own in enumerate(clusters) if own == name]
        differences.append(100 * np.mean([one[place] - other[place] for place in places]))
    assert (found.low, found.high) == pytest.approx(np.quantile(differences, [0.025, 0.975]))
    assert found.value == pytest.approx(100 * (np.mean(one) - np.mean(other)))
    assert found.clusters == 40


def test_a_figure_that_is_no_mean_is_computed_anew_for_each_draw() -> None:
    draw = random.Random(1)
    items = [
        Item(f"{category}/{n}/{k}", (), ("yes", f"{n}.jpg", "?"), category, f"{category}/{n}", f"{category}/{n}")
        for category in MME[:3]
        for n in range(6)
        for k in range(2)
    ]
    one, other = ([draw.choice(("yes", "no")) for _ in items] for _ in range(2))
    found = paired_bootstrap(items, mme.score(items, one), mme.score(items, other), resamples=50, seed=3)
    draws, differences = np.random.default_rng(3), []
    pictures = list(dict.fromkeys(item.cluster for item in items))
    for _ in range(50):
        chosen = [pictures[place] for place in draws.integers(18, size=18)]
        totals = []
        for said in (one, other):
            pairs = {item.cluster: [] for item in items}
            for item, text in zip(items, said, strict=True):
                pairs[item.cluster].append(text == "yes")
            total = 0.0
            for category in MME[:3]:
                own = [pairs[name] for name in chosen if name.startswith(category)]
                total += 100 * (np.mean(own) + np.mean([all(pair) for pair in own])) if own else 0
            totals.append(total)
        differences.append(totals[0] - totals[1])
    assert (found.low, found.high) == pytest.approx(np.quantile(differences, [0.025, 0.975]))


def test_equal_answers_differ_by_nothing() -> None:
    items = [Item(str(n), ()) for n in range(9)]
    same = _scored([1.0, 0.0, 1.0] * 3)
    found = paired_bootstrap(items, same, same)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    draws = np.random.default_rng(5)
    items = [Item(str(n), ()) for n in range(60)]
    held = 0
    for trial in range(100):
        one, other = ((draws.random(60) < share).astype(float).tolist() for share in (0.7, 0.5))
        found = paired_bootstrap(items, _scored(one), _scored(other), resamples=200, seed=trial)
        held += found.low <= 20 <= found.high
    assert 88 <= held <= 100


def test_no_items_are_refused() -> None:
    with pytest.raises(BenchmarkError, match="at least one item"):
        paired_bootstrap([], _scored([1.0]), _scored([1.0]))
