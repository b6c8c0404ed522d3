"""The report of an export: options, checks and versions, as ``EXPORT.json`` in the exported folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["REPORT", "Check", "Report", "Written", "versions_of"]

REPORT = "EXPORT.json"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of the written files."""

    name: str
    """The comparison, such as ``logits of the canary with a picture``."""
    passed: bool
    compared: int = 1
    """How many things were compared: tensors, rows, tokens."""
    difference: float | None = None
    """The largest absolute difference; None for a check without numbers."""
    allowed: float | None = None
    """The largest difference that passes."""
    detail: str = ""
    """The failure, or how to read the difference."""

    @classmethod
    def within(cls, name: str, difference: float, allowed: float, *, compared: int = 1, detail: str = "") -> Check:
        """A check of a measured difference; not-a-number does not pass.

        Example:
            >>> Check.within("logits", 1e-6, 1e-4).passed, Check.within("logits", math.nan, 1e-4).passed
            (True, False)
        """
        return cls(
            name=name,
            passed=difference <= allowed,
            compared=compared,
            difference=difference,
            allowed=allowed,
            detail=detail,
        )

    def __str__(self) -> str:
        measured = "" if self.difference is None else f", difference {self.difference:.3g}"
        allowed = "" if self.allowed is None else f", allowed {self.allowed:.3g}"
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.name}: {self.compared} compared{measured}{allowed}{detail}"


@dataclass(frozen=True, kw_only=True)
class Written:
    """The result of an exporter."""

    checks: tuple[Check, ...]
    """All checks; the export fails if one of them did."""
    packages: tuple[str, ...] = ("transformers",)
    """Names of the packages that the checks ran with."""
    notes: tuple[str, ...] = ()
    """Information for users of the folder, one sentence each."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Values of the target, such as a rank."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A finished export; the content of ``EXPORT.json``."""

    target: str
    adapter: str
    system: str
    options: dict[str, Any]
    versions: dict[str, str]
    """Package -> version that the checks ran with."""
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]
    layout: dict[str, Any] = field(default_factory=dict)
    """The adapter's layout, as a bundle stores it; ``inlay import`` reads it back."""
    folder: Path = field(default=Path())
    """Where it is; not in the file."""

    def text(self) -> str:
        """As JSON."""
        held = {name: value for name, value in asdict(self).items() if name != "folder"}
        return json.dumps(_finite(held), indent=2, ensure_ascii=False) + "\n"


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions of packages, inlay and torch among them; those that are not installed are left out."""
    found = {}
    for name in dict.fromkeys(("inlay", "torch", *packages)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _finite(value: Any) -> Any:
    """The same for JSON, which has no infinities."""
    if isinstance(value, dict):
        return {name: _finite(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(held) for held in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
