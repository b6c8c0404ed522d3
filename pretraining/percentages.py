"""Figures for the terminal."""

from __future__ import annotations

from collections.abc import Mapping


def percentages(figures: Mapping[str, float]) -> str:
    """Shares by name as percentages on one line.

    Example:
        >>> percentages({"colour": 0.998, "size": 1.0})
        'colour 99.8%, size 100.0%'
    """
    return ", ".join(f"{name} {100 * share:.1f}%" for name, share in figures.items())
