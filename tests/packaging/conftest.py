"""The repository as the packaging tests see it: its root, its parsed pyproject.toml, its modules and their imports."""

from __future__ import annotations

import ast
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FLOORS = ("hub", "adapters", "recipes")


@dataclass(frozen=True)
class Module:
    """A source file and what it imports.

    `imports` are dotted names; `from inlay.hub import errors` counts as `inlay.hub.errors` when that is a module.
    `at_import` holds the subset that runs when the module is imported (not in a function, not under TYPE_CHECKING).
    """

    name: str
    path: Path
    imports: frozenset[str]
    at_import: frozenset[str]


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """The files git tracks, relative to the root."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run([git, "ls-files", "-z"], cwd=root, capture_output=True, check=True, text=True).stdout
    return [Path(name) for name in listing.split("\0") if name and (root / name).is_file()]


@pytest.fixture(scope="session")
def modules(root: Path) -> dict[str, Module]:
    """Every module of the three floors by its import name."""
    paths = {_module_name(path.relative_to(root)): path for floor in FLOORS for path in (root / floor).rglob("*.py")}
    return {name: _read(name, path, frozenset(paths)) for name, path in paths.items()}


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(("inlay", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def _read(name: str, path: Path, known: frozenset[str]) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    everywhere = frozenset(target for node in ast.walk(tree) for target in _targets(node, known))
    return Module(name, path, everywhere, frozenset(_at_import(tree, known)))


def _targets(node: ast.AST, known: frozenset[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        joined = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in known else node.module for name in joined]
    return []


def _at_import(node: ast.AST, known: frozenset[str]) -> list[str]:
    found = _targets(node, known)
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not (is_function or is_typing):
            found += _at_import(child, known)
    return found
