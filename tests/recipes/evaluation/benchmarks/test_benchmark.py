"""The limit of a benchmark, and means of counts."""

from __future__ import annotations

import numpy as np

from inlay.recipes.evaluation.benchmarks.benchmark import mean_of_counts
from inlay.recipes.evaluation.benchmarks.item import Item, limited


def test_the_limit_holds_for_each_part_and_keeps_groups_whole() -> None:
    items = [
        Item(f"{part}{n}{k}", (), part=part, group=f"{part}{n}") for part in "ab" for n in range(3) for k in range(2)
    ]
    assert [item.name for item in limited(items, 1)] == ["a00", "a01", "b00", "b01"]
    assert limited(items, None) == items


def test_a_mean_of_nothing_is_zero() -> None:
    assert mean_of_counts(np.array([[1.0, 4.0], [0.0, 0.0]])).tolist() == [25, 0]
