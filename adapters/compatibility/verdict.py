"""The verdict on a backbone: the port that an adapter needs, compared with the port of the backbone, field by field.

``exact``: the same weights. ``fits``: the same family, widths, token counts, tokenizer and settings, but other weights.
Everything else is ``incompatible``, and the error is a table of port, field, expected value and found value.

A generator that is present must fit. A missing generator does not prevent attaching, because everything else works
without it: the report names it, and so does a reply that requests its medium.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from inlay.adapters.compatibility.digest import META_DIGEST
from inlay.adapters.compatibility.ports import PRECISION
from inlay.hub.errors import InlayError
from inlay.hub.format.manifest import PortSpec

__all__ = ["Admission", "IncompatibleBackbone", "OtherWeightsWarning", "Report", "Row", "Verdict", "check", "require"]

Verdict: TypeAlias = Literal["exact", "fits", "incompatible"]


@dataclass(frozen=True, slots=True)
class Row:
    """One difference."""

    port: str
    field: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check."""

    verdict: Verdict
    rows: tuple[Row, ...]
    """The differences: those that prevent attaching, or for ``fits`` the ports with other weights."""
    absent: tuple[str, ...] = ()
    """Generators that the backbone lacks. They do not prevent attaching: replies then have no such media."""

    def table(self) -> str:
        """The differences as an aligned text table.

        Example:
            >>> print(Report("incompatible", (Row("image", "width", "1024", "768"),)).table())
            port   field  expected  found
            image  width  1024      768
        """
        cells = [("port", "field", "expected", "found"), *((r.port, r.field, r.expected, r.found) for r in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(4)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
        return "\n".join(line.rstrip() for line in lines)


class IncompatibleBackbone(InlayError):
    """An adapter does not fit a backbone; ``report`` holds the table.

    Args:
        report: the differences.
        adapter: the adapter's name.
        hint: advice, appended to the table.
    """

    def __init__(self, report: Report, adapter: str, hint: str = "") -> None:
        self.report = report
        text = f"adapter {adapter!r} does not fit this backbone:\n{report.table()}"
        super().__init__(f"{text}\n{hint}" if hint else text)


def check(expected: Mapping[str, PortSpec], found: Mapping[str, PortSpec]) -> Report:
    """Compare an adapter's interface with a backbone's ports.

    Args:
        expected: port name -> the port that the adapter needs.
        found: port name -> the port of the backbone; ports that the adapter does not use are ignored.

    Returns:
        The verdict over all ports that both have; missing generators are named in the report.
    """
    blocking: list[Row] = []
    other_weights: list[Row] = []
    absent: list[str] = []
    for name, port in expected.items():
        if name not in found and port.kind == "generator":
            absent.append(name)
            continue
        if name not in found:
            blocking.append(Row(name, "port", f"{port.family} {port.kind}", "none"))
            continue
        blocking += _differences(name, port, found[name])
        if port.weights != found[name].weights or META_DIGEST in (port.weights, found[name].weights):
            other_weights.append(
                Row(
                    name,
                    "weights",
                    _source(port) + _short(port.weights),
                    _source(found[name]) + _short(found[name].weights),
                )
            )
        before, now = port.settings.get(PRECISION), found[name].settings.get(PRECISION)
        if before != now:
            other_weights.append(Row(name, PRECISION, str(before or "not quantised"), str(now or "not quantised")))
    if blocking:
        return Report("incompatible", tuple(blocking), tuple(absent))
    return Report("fits" if other_weights else "exact", tuple(other_weights), tuple(absent))


def _differences(name: str, expected: PortSpec, found: PortSpec) -> list[Row]:
    rows = []
    for field in ("kind", "family", "width", "tokens", "tokenizer"):
        wanted, got = getattr(expected, field), getattr(found, field)
        if wanted != got:
            rows.append(Row(name, field, _short(wanted), _short(got)))
    for field in sorted({*expected.settings, *found.settings} - {PRECISION}):
        wanted, got = expected.settings.get(field), found.settings.get(field)
        if wanted != got:
            rows.append(Row(name, field, _short(wanted), _short(got)))
    return rows


def _source(port: PortSpec) -> str:
    return f"{port.source} " if port.source else ""


def _short(value: object) -> str:
    """Format a value for the table: digests shortened, a missing value as ``none``."""
    text = "none" if value is None else str(value)
    return text[:15] if text.startswith("sha256:") else text


class OtherWeightsWarning(UserWarning):
    """The backbone fits, but has other weights than the one that the adapter was trained on."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The stored result of a check on a backbone, so that it is not repeated."""

    backbone: object
    """The identity of the backbone, see :class:`inlay.adapters.Backbone`."""
    report: Report
    verified: bool = False
    """Whether the adapter has been attached to it, and its canary passed."""

    def holds(self, backbone: object, *, strict: bool = False, verified: bool = False) -> bool:
        """Whether this result covers a check: the same backbone, at least as strict, and verified if required."""
        exact = self.report.verdict == "exact" and not self.report.absent
        return self.backbone is backbone and (exact or not strict) and (self.verified or not verified)


def require(report: Report, adapter: str, *, strict: bool, trained: bool) -> None:
    """Raise or warn, depending on the report.

    Args:
        report: the result of the check.
        adapter: the adapter's name.
        strict: refuse a backbone with other weights, or without a generator.
        trained: warn if the backbone has other weights than the adapter was trained on.

    Raises:
        IncompatibleBackbone: with a table of the differences.
    """
    if report.verdict == "incompatible":
        raise IncompatibleBackbone(report, adapter)
    if strict and report.absent:
        raise IncompatibleBackbone(report, adapter, "It lacks generators, and strict=True was given.")
    if report.verdict == "fits" and trained:
        if strict:
            raise IncompatibleBackbone(report, adapter, "It fits, but has other weights, and strict=True was given.")
        warnings.warn(
            f"adapter {adapter!r} fits this backbone, which has other weights than it was trained on:\n"
            f"{report.table()}",
            OtherWeightsWarning,
            stacklevel=_outside(),
        )


def _outside() -> int:
    """The ``stacklevel`` for the caller, so that the warning names the first line outside of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("inlay."):
        level, frame = level + 1, frame.f_back
    return level
