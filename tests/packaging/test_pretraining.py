"""`pretraining/` stays outside the wheel: nothing of the package imports it, and its own folders form layers."""

from __future__ import annotations

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return found


@pytest.fixture(scope="module")
def imports(root: Path) -> dict[str, set[str]]:
    """Module of `pretraining` -> the modules of it that it imports."""
    paths = {".".join(path.relative_to(root).with_suffix("").parts): path for path in root.glob("pretraining/**/*.py")}
    return {name: _imports(path) & set(paths) for name, path in paths.items()}


def test_the_package_imports_nothing_of_it(modules: dict[str, Any]) -> None:
    users = [
        module.name for module in modules.values() if any(f"{t}.".startswith("pretraining.") for t in module.imports)
    ]
    assert users == []


def test_its_files_and_folders_import_each_other_in_one_direction(imports: dict[str, set[str]]) -> None:
    folders: dict[str, set[str]] = defaultdict(set)
    for name, targets in imports.items():
        own = name.split(".")[1]
        folders[own] |= {target.split(".")[1] for target in targets} - {own}
    assert "language" in folders["vision"]
    for graph in (imports, folders):
        TopologicalSorter(graph).prepare()  # raises CycleError


def test_a_source_archive_holds_it(root: Path) -> None:
    assert "graft pretraining" in (root / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
