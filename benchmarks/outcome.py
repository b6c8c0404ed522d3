"""The result of a measure: comparisons with targets, checks that both sides do the same work, and further figures.

A comparison of training is *void*, without a ratio, unless both sides have the same first loss, the same gradients and
the same loss curve over fifty steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.timing import Times

__all__ = ["CURVE", "Checks", "Comparison", "Outcome", "tolerance"]

CURVE = 0.01
"""The largest relative difference of two loss curves that is allowed at any step."""
LOOSER = 2.0
"""The largest allowed ratio of our rounding error of gradients in bfloat16 to theirs."""


def tolerance(precision: str) -> float:
    """The allowed relative difference of first losses and gradients: 1e-4, in bfloat16 2e-2."""
    return 2e-2 if precision.startswith("bf16") else 1e-4


@dataclass(frozen=True, kw_only=True)
class Checks:
    """Whether two sides do the same work."""

    precision: str
    """``32-true``, or one with bfloat16."""
    loss: float
    """Relative difference of the first step's losses."""
    gradients: float
    """Largest relative difference of an adapter gradient, in float32 (of the narrow model if bfloat16 is timed)."""
    curve: float | None
    """Largest relative difference of the losses of fifty steps, in the timed precision; None if each side trains on its
    own random data."""
    rounding: tuple[float, float] | None = None
    """In bfloat16: relative difference of our gradients, and of theirs, from those in float32."""
    note: str = ""
    """Notes on the checks, such as the sizes of the model."""

    @property
    def fault(self) -> str:
        """The reason why a comparison is void; empty if it is valid."""
        limit, faults = tolerance(self.precision), []
        if not self.loss <= limit:
            faults.append(f"the first losses differ by {self.loss:.2e}, at most {limit:.0e} is allowed")
        if not self.gradients <= tolerance("32-true"):
            faults.append(
                f"the gradients differ by {self.gradients:.2e}, at most {tolerance('32-true'):.0e} is allowed"
            )
        if self.rounding is not None and not self.rounding[0] <= max(limit, LOOSER * self.rounding[1]):
            ours, theirs = self.rounding
            faults.append(f"bfloat16 changes our gradients by {ours:.2e} and theirs by {theirs:.2e}")
        if self.curve is not None and not self.curve <= CURVE:
            faults.append(f"the loss curves differ by {self.curve:.2%}, at most {CURVE:.0%} is allowed")
        return "; ".join(faults)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Our side against one opponent."""

    opponent: str
    """``documented``, ``tuned``, or another name."""
    what: str
    """How the opponent, and ours if necessary, is run."""
    ratio: float | None
    """Median of theirs over median of ours; the inverse if lower is better. None if void."""
    target: float | None = None
    """The target of the ratio."""
    better: Literal["higher", "lower"] = "higher"
    """Whether the ratio should reach its target, or stay below it."""
    unit: str = "x faster"
    """Unit of the ratio."""
    cpu_ratio: float | None = None
    """The same ratio of CPU seconds."""
    theirs: Mapping[str, Any] = field(default_factory=dict)
    """Every raw figure of their side."""
    ours: Mapping[str, Any] = field(default_factory=dict)
    """Every raw figure of ours."""
    spread: float | None = None
    """The larger of both sides' (slowest - fastest) / median."""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a ratio or a target."""
        if self.ratio is None or self.target is None:
            return None
        return self.ratio >= self.target if self.better == "higher" else self.ratio <= self.target

    @classmethod
    def of_times(
        cls,
        opponent: str,
        what: str,
        theirs: Times,
        ours: Times,
        *,
        target: float | None = None,
        void: bool = False,
        better: Literal["higher", "lower"] = "higher",
        more: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
    ) -> Comparison:
        """A comparison of measured times.

        Args:
            opponent: the opponent's name.
            what: a description of the opponent.
            theirs: the times of the opponent.
            ours: our times.
            target: the target of the ratio.
            void: whether the sides do different work.
            better: ``higher`` for theirs over ours, ``lower`` for ours over theirs.
            more: further figures of both sides.
        """
        wall, cpu = theirs.median / ours.median, theirs.cpu_median / max(ours.cpu_median, 1e-9)
        up = better == "higher"
        return cls(
            opponent=opponent,
            what=what,
            ratio=None if void else (wall if up else 1 / wall),
            cpu_ratio=None if void else (cpu if up else 1 / max(cpu, 1e-9)),
            target=target,
            better=better,
            unit="x faster" if up else "of their time",
            theirs=_raw(theirs) | dict(more[0]),
            ours=_raw(ours) | dict(more[1]),
            spread=max(theirs.spread, ours.spread),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"met": self.met}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one measure."""

    title: str
    comparisons: list[Comparison] = field(default_factory=list)
    checks: Checks | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Sizes, rates, and notes on what was left out."""
    skipped: str = ""
    """The reason why nothing was measured; empty if it was."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the status ``ok``, ``void`` or ``skipped``."""
        fault = self.checks.fault if self.checks is not None else ""
        return {
            "title": self.title,
            "status": "skipped" if self.skipped else "void" if fault else "ok",
            "why": self.skipped or fault,
            "comparisons": [comparison.as_json() for comparison in self.comparisons],
            "checks": asdict(self.checks) if self.checks is not None else None,
            "facts": dict(self.facts),
        }


def _raw(times: Times) -> dict[str, Any]:
    return {"wall": times.wall, "cpu": times.cpu, "median": times.median, "spread": times.spread}
