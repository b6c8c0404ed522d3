"""The table of ``make real`` and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["LIMITS", "table", "unmet"]

LIMITS = {"digits": 0.90, "digits blind": 0.15, "peak GB": 2.5, "CPU minutes": 24.0}
"""Limits: the first is a minimum, the others are maxima. All commands together take twelve minutes on two cores."""


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The table, with a row for each system.

    Args:
        found: system -> ``figures`` (the output of ``inlay evaluate --json``) and ``commands`` with times and peaks.
    """
    lines = [
        "| system | digits | blind | photographs | blind | train, s (CPU s) | evaluate, s (CPU s) | peak, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for system, one in found.items():
        commands = one["commands"]
        shares = [
            f"{100 * _share(one, by, kind):.1f}" for kind in ("digit", "photograph") for by in ("adapter", "blind")
        ]
        times = [
            f"{commands[name]['seconds']:.0f} ({commands[name]['cpu_seconds']:.0f})" for name in ("train", "evaluate")
        ]
        lines.append(f"| {' | '.join([system, *shares, *times, f'{_peak(one):.2f}'])} |")
    return "\n".join(lines)


def unmet(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each exceeded limit. Wall time has no limit, since it depends on the load of the machine."""
    faults = []
    for system, one in found.items():
        adapter, blind = (_share(one, by, "digit") for by in ("adapter", "blind"))
        if adapter < LIMITS["digits"]:
            faults.append(f"{system}: expected at least 90 % of the digits, got {adapter:.1%}")
        if blind > LIMITS["digits blind"]:
            faults.append(f"{system}: expected at most 15 % of the digits without the picture, got {blind:.1%}")
        if _peak(one) > LIMITS["peak GB"]:
            faults.append(f"{system}: expected a peak of at most 2.5 GB, got {_peak(one):.2f} GB")
    minutes = sum(command["cpu_seconds"] for one in found.values() for command in one["commands"].values()) / 60
    if minutes > LIMITS["CPU minutes"]:
        faults.append(f"expected at most 24 minutes of CPU time for all commands, got {minutes:.1f}")
    return faults


def _share(one: Mapping[str, Any], by: str, kind: str) -> float:
    """The share of right answers, with or without the picture, of one kind of question."""
    return float(one["figures"][by]["by_type"][kind])


def _peak(one: Mapping[str, Any]) -> float:
    return float(max(command["peak_bytes"] for command in one["commands"].values()) / 1e9)
