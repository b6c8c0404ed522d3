"""Compatibility: what an adapter expects of each port, what a backbone offers, and the verdict.

``exact``: the same weights. ``fits``: same family, widths, token counts, tokenizer and settings, other weights.
Everything else is incompatible, and the error is a table of port, field, expected, found.

A generator that is there must fit; one that is absent is no hindrance, since everything else works without it. The
report names it, and so does an answer that would have had a medium from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from inlay.adapters.compatibility.digest import META_DIGEST
from inlay.hub.errors import InlayError
from inlay.hub.format.manifest import PortSpec

__all__ = ["PRECISION", "IncompatibleBackbone", "Report", "Row", "Verdict", "check", "generator_port"]

PRECISION = "precision"
"""Setting of a quantised port: ``nf4`` or ``int8``. Another one is other weights, and no hindrance."""
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
    """The differences: those that forbid, or under ``fits`` the ports with other weights."""
    absent: tuple[str, ...] = ()
    """Generators that the backbone lacks. They do not forbid: the adapter then answers without their media."""

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
        hint: what to do about it.
    """

    def __init__(self, report: Report, adapter: str, hint: str = "") -> None:
        self.report = report
        text = f"adapter {adapter!r} does not fit this backbone:\n{report.table()}"
        super().__init__(f"{text}\n{hint}" if hint else text)


def generator_port(modality: str) -> str:
    """Name of the port at which media of a modality are made.

    Example:
        >>> generator_port("image")
        'generate.image'
    """
    return f"generate.{modality}"


def check(expected: Mapping[str, PortSpec], found: Mapping[str, PortSpec]) -> Report:
    """Compare an adapter's interface with a backbone's ports.

    Args:
        expected: port name -> what the adapter was made for.
        found: port name -> what the backbone has; ports that the adapter does not use are ignored.

    Returns:
        The verdict over all ports that both have; generators that the backbone lacks are only named.
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
    """Digests are told apart by their first digits; what one side lacks is ``none``."""
    text = "none" if value is None else str(value)
    return text[:15] if text.startswith("sha256:") else text
