"""The figures of a benchmark as a table: the adapter, its blind rows, and the comparison with another bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from inlay.recipes.evaluation.benchmarks.answer_store import StoredAnswer
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, Scored
from inlay.recipes.evaluation.benchmarks.bootstrap import Difference
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.terminal.table import aligned

__all__ = ["as_plain", "benchmark_table", "difference_line", "scored_columns"]


def scored_columns(
    benchmark: Benchmark, items: Sequence[Item], answers: Mapping[str, Sequence[StoredAnswer]]
) -> dict[str, Scored]:
    """Column -> scores; empty for a test set without public answers."""
    if all(item.gold is None for item in items):
        return {}
    return {column: benchmark.score(items, [row.answer for row in rows]) for column, rows in answers.items()}


def benchmark_table(title: str, count: int, columns: Mapping[str, Scored]) -> str:
    """Title and table, one row per figure.

    Example:
        >>> from inlay.recipes.evaluation.benchmarks.benchmark import mean_of_counts
        >>> scores = {name: Scored({"accuracy": value}, [], mean_of_counts) for name, value in (("a", 90), ("b", 50))}
        >>> print(benchmark_table("POPE", 10, scores))
        POPE, 10 questions
        figure       a     b
        accuracy  90.0  50.0
    """
    names = next(iter(columns.values())).figures
    rows = [("figure", *columns)]
    rows += [(name, *(f"{scored.figures.get(name, math.nan):.1f}" for scored in columns.values())) for name in names]
    return f"{title}, {count} questions\n{aligned(rows)}"


def as_plain(columns: Mapping[str, Scored]) -> dict[str, Any]:
    """Figures by column as values for JSON; None for a figure without items."""
    return {
        column: {name: None if math.isnan(value) else value for name, value in scored.figures.items()}
        for column, scored in columns.items()
    }


def difference_line(main: str, found: Difference, *, better: str, bundles: tuple[str, str]) -> str:
    """The comparison in words: the figure of the first bundle minus that of the second.

    Example:
        >>> difference_line("accuracy", Difference(2.31, 0.4, 4.2, 500), better="higher", bundles=("new", "old"))
        'accuracy: new minus old is +2.3, 95 % interval +0.4 to +4.2 (higher is better; 500 clusters)'
    """
    return (
        f"{main}: {bundles[0]} minus {bundles[1]} is {found.value:+.1f}, "
        f"95 % interval {found.low:+.1f} to {found.high:+.1f} "
        f"({better} is better; {found.clusters} clusters)"
    )
