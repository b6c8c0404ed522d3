"""pyproject.toml says what the folders say: packages, markers of typing, versions."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

FLOORS = ("adapters", "hub", "recipes")


def _folders_with_python(root: Path) -> set[Path]:
    return {path.parent.relative_to(root) for floor in FLOORS for path in (root / floor).rglob("*.py")}


def _requirements(pyproject: dict[str, Any]) -> Iterator[Requirement]:
    project = pyproject["project"]
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        yield from (Requirement(line) for line in group if not line.startswith("inlay"))


def _pins(path: Path) -> dict[str, Version]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    matches = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if match is None]
    return {str(canonicalize_name(match[1])): Version(match[2]) for match in matches if match}


def test_the_package_list_equals_the_folders(root: Path, pyproject: dict[str, Any]) -> None:
    folders = {".".join(("inlay", *folder.parts)) for folder in _folders_with_python(root)}
    assert folders == set(pyproject["tool"]["setuptools"]["packages"])


def test_every_mapped_folder_has_an_init(root: Path) -> None:
    # Without it the folder cannot be imported from an editable install (setuptools issue 4943).
    assert [folder for folder in _folders_with_python(root) if not (root / folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("floor", FLOORS)
def test_every_floor_is_marked_as_typed(root: Path, floor: str) -> None:
    # The namespace root `inlay` has no file of its own, so it cannot carry the marker for all three.
    assert (root / floor / "py.typed").is_file()


def test_the_three_floors_are_mapped_under_inlay(pyproject: dict[str, Any]) -> None:
    assert pyproject["tool"]["setuptools"]["package-dir"] == {f"inlay.{floor}": floor for floor in FLOORS}


def test_no_conftest_at_the_root(root: Path) -> None:
    # It would put the root on sys.path, and the folders would be importable a second time under their bare names.
    assert not (root / "conftest.py").exists()


def test_tested_versions_lie_in_the_declared_ranges(root: Path, pyproject: dict[str, Any]) -> None:
    pins = _pins(root / "constraints.txt")
    wrong = {str(need): pins.get(canonicalize_name(need.name)) for need in _requirements(pyproject)}
    assert {
        need: pin for need, pin in wrong.items() if pin is None or not Requirement(need).specifier.contains(pin)
    } == {}


def test_lowest_versions_are_the_declared_lower_bounds(root: Path, pyproject: dict[str, Any]) -> None:
    lowest = _pins(root / "constraints-lowest.txt")
    for line in pyproject["project"]["dependencies"]:
        need = Requirement(line)
        bounds = [Version(spec.version) for spec in need.specifier if spec.operator == ">="]
        assert bounds == [lowest[canonicalize_name(need.name)]], line


@pytest.mark.parametrize("stolen", ["2.6.2", "2.6.3"])
@pytest.mark.parametrize("name", ["lightning", "pytorch-lightning"])
def test_the_malicious_lightning_releases_are_excluded(pyproject: dict[str, Any], name: str, stolen: str) -> None:
    (need,) = [need for need in _requirements(pyproject) if need.name == name]
    assert not need.specifier.contains(stolen)


def test_what_runs_at_import_is_a_core_dependency(modules: dict[str, Any], pyproject: dict[str, Any]) -> None:
    core = {str(canonicalize_name(Requirement(line).name)) for line in pyproject["project"]["dependencies"]}
    owners = packages_distributions()
    # `inlay serve` imports these modules after it has checked that the extra `serve` is installed; lmms-eval the last.
    behind = ("inlay.recipes.serve.http_api.", "inlay.recipes.demo.routes", "inlay.recipes.lmms_eval.model")
    behind_the_check = {name for name in modules if name.startswith(behind)}
    others = [module for name, module in modules.items() if name not in behind_the_check]
    assert [module.name for module in others if module.at_import & behind_the_check] == []
    tops = {target.split(".")[0] for module in others for target in module.at_import}
    third_party = tops - set(sys.stdlib_module_names) - {"inlay"}
    undeclared = [top for top in third_party if not {str(canonicalize_name(d)) for d in owners.get(top, [])} & core]
    assert undeclared == []
