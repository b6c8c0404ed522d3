"""Systems of one's own: what is checked when one is registered, and the forms in which it may be given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inlay.recipes import Recipe, llava, register_system
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.systems.registry import SYSTEMS

OWN = replace(llava.recipe(), system="own")


def own(version: str = "1.0", size: Any = "miniature") -> Recipe:
    return replace(OWN, version=version, size=size)


pytestmark = pytest.mark.usefixtures("own_registrations")


def test_one_recipe_is_a_system_of_every_size() -> None:
    register_system("own", OWN)
    register_system("own", OWN)
    assert list(SYSTEMS)[-1] == "own"
    assert SYSTEMS["own"].recipe() == OWN
    assert SYSTEMS["own"].recipe(size="full") == replace(OWN, size="full")
    assert SYSTEMS["own"].recipe(version="1.0", size="full").stages == OWN.stages


def test_a_function_gives_the_recipes_of_several_versions() -> None:
    register_system("own", own, versions=("1.0", "2.0"))
    assert SYSTEMS["own"].versions == ("1.0", "2.0")
    assert SYSTEMS["own"].recipe(version="2.0", size="full").version == "2.0"


@pytest.mark.parametrize(
    ("name", "recipe", "versions", "message"),
    [
        ("Own", own, ("1.0",), "expected a name in lower case"),
        ("own", own, (), "at least one version"),
        ("other", own, ("1.0",), "expected a Recipe with system='other', got 'own'"),
        ("own", lambda version, size: OWN, ("1.0",), "expected a function recipe"),
        ("own", lambda **_: 3, ("1.0",), "expected a Recipe with system='own', got 'int'"),
        ("own", 3, ("1.0",), "expected a Recipe or a function"),
        ("llava", llava.recipe, ("1.0",), "another system has this name"),
    ],
)
def test_what_is_no_system_is_refused(name: str, recipe: Any, versions: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        register_system(name, recipe, versions)
    assert "own" not in SYSTEMS


def test_another_system_does_not_take_a_registered_name() -> None:
    register_system("own", own)
    with pytest.raises(RecipeError, match="system own: another system has this name"):
        register_system("own", OWN)
    assert SYSTEMS["own"].recipe is own


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_recipes_know_their_version_and_size(name: str) -> None:
    for version in SYSTEMS[name].versions:
        for size in ("miniature", "full"):
            built = SYSTEMS[name].recipe(version=version, size=size)
            assert (built.system, built.version, built.size) == (name, version, size)
