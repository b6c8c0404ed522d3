"""The house: hub below adapters below recipes, and no circle of imports anywhere."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Any

import pytest

FORBIDDEN = {"hub": ("adapters", "recipes"), "adapters": ("recipes",)}


@pytest.mark.parametrize("floor", FORBIDDEN)
def test_a_floor_imports_only_from_below(modules: dict[str, Any], floor: str) -> None:
    above = tuple(f"inlay.{name}" for name in FORBIDDEN[floor])
    upward = [
        f"{module.name} imports {target}"
        for module in modules.values()
        for target in module.imports
        if f"{module.name}.".startswith(f"inlay.{floor}.") and f"{target}.".startswith(tuple(f"{a}." for a in above))
    ]
    assert upward == []


def test_there_is_no_circle_of_imports(modules: dict[str, Any]) -> None:
    graph = {name: {target for target in module.imports if target in modules} for name, module in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_every_import_of_our_own_names_a_module_that_exists(modules: dict[str, Any]) -> None:
    missing = [
        f"{module.name} imports {target}"
        for module in modules.values()
        for target in module.imports
        if target.startswith("inlay.") and target not in modules
    ]
    assert missing == []
