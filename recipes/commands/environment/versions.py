"""Installed versions of the packages that inlay needs, the range that was tested, and which extras are complete.

All facts come from the metadata of installed packages; nothing is imported or looked up on the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal, TypeAlias

__all__ = ["DEVELOPMENT", "State", "Version", "core_versions", "extras_missing", "judge"]

State: TypeAlias = Literal["tested", "untested", "missing"]
DEVELOPMENT = ("bench", "dev", "docs", "fuzz")
"""Extras for work on inlay itself."""


@dataclass(frozen=True)
class Version:
    """One package."""

    name: str
    installed: str | None
    """None if it is not installed."""
    tested: str
    """Range of versions that inlay was tested with, as pip writes it."""
    state: State


def judge(requirement: str) -> Version:
    """Compare an installed package with a requirement.

    Args:
        requirement: as in ``pyproject.toml``.

    Example:
        >>> judge("a-package-that-nobody-has>=2").state
        'missing'
    """
    from packaging.requirements import Requirement

    need = Requirement(requirement)
    try:
        installed = version(need.name)
    except PackageNotFoundError:
        return Version(need.name, None, str(need.specifier), "missing")
    inside = need.specifier.contains(installed, prereleases=True)
    return Version(need.name, installed, str(need.specifier), "tested" if inside else "untested")


def core_versions() -> list[Version]:
    """The packages that every command needs."""
    return [judge(line) for line in _needs() if "extra ==" not in line]


def extras_missing() -> dict[str, list[str]]:
    """Extra -> packages of it that are not installed; those for users, not for development."""
    found: dict[str, list[str]] = {}
    for line in _needs():
        extra = _extra(line)
        if extra and extra not in DEVELOPMENT:
            own = found.setdefault(extra, [])
            own += [need for need in _packages(line) if judge(need).state == "missing"]
    return dict(sorted(found.items()))


def _needs() -> list[str]:
    return requires("inlay") or []


def _extra(line: str) -> str:
    """The extra of a requirement; empty for the core.

    Example:
        >>> _extra('av<19,>=18.1.0; extra == "video"')
        'video'
    """
    _, marked, after = line.partition("extra ==")
    return after.strip().strip("\"'") if marked else ""


def _packages(line: str) -> Iterator[str]:
    """A requirement without its marker; one that names another extra of inlay gives the packages of that extra."""
    plain = line.partition(";")[0].strip()
    if not plain.startswith("inlay["):
        yield plain
        return
    named = {name.strip() for name in plain.partition("[")[2].partition("]")[0].split(",")}
    for other in _needs():
        if _extra(other) in named:
            yield from _packages(other)
