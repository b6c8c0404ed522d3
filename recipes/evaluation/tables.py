"""Tables of figures as text."""

from __future__ import annotations

from collections.abc import Mapping

from inlay.recipes.terminal.table import aligned

__all__ = ["figure_table"]


def figure_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """One row per figure, multiplied by 100 as in papers.

    Example:
        >>> print(figure_table({"adapter": {"cider": 1.21, "bleu_4": 0.4}, "blind": {"cider": 0.1, "bleu_4": 0.05}}))
        figure  adapter  blind
        cider     121.0   10.0
        bleu_4     40.0    5.0
    """
    first = next(iter(columns.values()))
    rows = [("figure", *columns)]
    rows += [(name, *(f"{100 * figures[name]:.1f}" for figures in columns.values())) for name in first]
    return aligned(rows)
