"""The registry of systems: checked when called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.systems import llava, registry
from inlay.recipes.systems.registry import SYSTEMS, register_system


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry._SYSTEMS, "_registered", {})


def recipe(version: str = "1.0", size: Any = "miniature") -> Any:
    return replace(llava.recipe("1.0", size), system="mine", version=version)


def test_a_registered_system_is_found_behind_those_of_the_package() -> None:
    register_system("mine", recipe, ("1.0", "2.0"))
    assert list(SYSTEMS)[-1] == "mine"
    assert SYSTEMS["mine"].recipe(version="2.0", size="full").version == "2.0"
    assert len(SYSTEMS) == 7


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("My system", recipe), "expected a name in lower case"),
        (("llava", llava.recipe, ("1.5",)), "the package has a system of that name"),
        (("mine", recipe, ()), "expected at least one version"),
        (("other", recipe), "expected a Recipe with system='other', got 'mine'"),
        (("mine", lambda version, size: 3), "got 'int'"),
    ],
)
def test_what_is_no_system_is_refused(arguments: Any, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        register_system(*arguments)
    assert "mine" not in SYSTEMS


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_recipes_know_their_version_and_size(name: str) -> None:
    for version in SYSTEMS[name].versions:
        for size in ("miniature", "full"):
            built = SYSTEMS[name].recipe(version=version, size=size)
            assert (built.system, built.version, built.size) == (name, version, size)
