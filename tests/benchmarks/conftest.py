"""The modules of ``benchmarks/``, which is run from the root of a clone and is no part of the package."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def _package() -> ModuleType:
    """The package ``benchmarks``; the root, and with it the bare names of the floors, stays off the path."""
    spec: Any = importlib.util.spec_from_file_location(
        "benchmarks", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules["benchmarks"] = package
    spec.loader.exec_module(package)
    return package


# Before the tests are collected, since some of them import it.
if "benchmarks" not in sys.modules:
    _package()


@pytest.fixture(scope="session")
def module_of() -> Callable[[str], ModuleType]:
    """A module of the package by its name."""
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def run(module_of: Callable[[str], Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A measure of a suite at tiny sizes, as the JSON holds it."""

    def run(suite: str, name: str, force_bf16: bool = False) -> dict[str, Any]:
        setting = module_of("setting").Setting(place=tmp_path, size="tiny", force_bf16=force_bf16)
        found: dict[str, Any] = json.loads(json.dumps(module_of(suite).MEASURES[name](setting).as_json()))
        return found

    return run
