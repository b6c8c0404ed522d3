"""Paired bootstrap: an interval for the difference of two bundles on the same questions (Efron and Tibshirani, 1993).

Clusters of questions, such as all questions about a picture, are drawn with replacement, the same ones for both
bundles, and the main figure of each is computed from the sums of their counts. The interval holds the middle 95 % of
the differences. Questions about one picture are not independent, so drawing questions alone would give too short
intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inlay.recipes.evaluation.benchmarks.benchmark import Scored
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.errors import BenchmarkError

__all__ = ["Difference", "paired_bootstrap"]

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """The difference of two main figures."""

    value: float
    """The first minus the second."""
    low: float
    high: float
    clusters: int
    """Number of clusters in the set."""


def paired_bootstrap(
    items: Sequence[Item], one: Scored, other: Scored, *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """The difference of the main figures with its 95 % interval.

    Args:
        items: the items that both bundles answered.
        one: scores of the first bundle.
        other: scores of the second bundle on the same items.
        resamples: number of draws.
        seed: the seed of the draws.

    Raises:
        BenchmarkError: no items.
    """
    if not items:
        raise BenchmarkError("bootstrap: expected at least one item, got none")
    names = [item.cluster or item.group or item.name for item in items]
    # A picture in several parts, as in POPE's three sets, is still one cluster.
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    cluster = np.array([places[name] for name in names])
    both = []
    for scored in (one, other):
        counts = np.asarray(scored.counts, dtype=np.float64)
        sums = np.zeros((len(places), counts.shape[1]))
        np.add.at(sums, cluster, counts)
        both.append(sums)
    draws = np.random.default_rng(seed)
    differences = np.empty(resamples)
    for number in range(resamples):
        weights = np.bincount(draws.integers(len(places), size=len(places)), minlength=len(places))
        first, second = (weights @ sums for sums in both)
        differences[number] = one.main(first) - other.main(second)
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    first, second = (sums.sum(axis=0) for sums in both)
    return Difference(float(one.main(first) - other.main(second)), float(low), float(high), len(places))
