"""The CSV logs of a run as curves."""

from __future__ import annotations

import csv
from typing import TypeAlias

from inlay.recipes.runs.folder import RunFolder

__all__ = ["Curve", "curves", "one_axis", "smooth"]

Curve: TypeAlias = list[tuple[int, float]]
"""Optimizer step and value."""


def curves(folder: RunFolder) -> dict[str, dict[str, Curve]]:
    """Stage -> name of a figure -> its curve; stages in training order.

    A resumed stage has several files, whose steps follow each other.
    """
    found: dict[str, dict[str, Curve]] = {}
    for path in sorted(folder.logs.glob("*-csv/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime):
        stage = found.setdefault(path.parent.parent.name.removesuffix("-csv"), {})
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name != "step":
                        stage.setdefault(name, []).append((int(row["step"]), float(value)))
    return found


def one_axis(stages: dict[str, dict[str, Curve]], name: str) -> dict[str, Curve]:
    """The curves of one figure, with the steps of each stage after those of the stage before.

    Example:
        >>> one_axis({"align": {"loss": [(9, 2.0)]}, "instruct": {"loss": [(9, 1.0)]}}, "loss")
        {'align': [(9, 2.0)], 'instruct': [(18, 1.0)]}
    """
    found, start = {}, 0
    for stage, figures in stages.items():
        if name in figures:
            found[stage] = [(start + step, value) for step, value in figures[name]]
        start += max((step for curve in figures.values() for step, _ in curve), default=0)
    return found


def smooth(curve: Curve, over: int = 5) -> Curve:
    """The mean of each value and those before it.

    Example:
        >>> smooth([(1, 2.0), (2, 4.0)], over=2)
        [(1, 2.0), (2, 3.0)]
    """
    values = [value for _, value in curve]
    return [
        (step, sum(values[max(0, place - over + 1) : place + 1]) / min(over, place + 1))
        for place, (step, _) in enumerate(curve)
    ]
