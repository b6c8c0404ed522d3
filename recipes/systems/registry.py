"""The registry of systems: name, versions and recipe function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pkgutil import resolve_name

from inlay.adapters.parts.registration import same_definition
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.recipe import Recipe, Size

__all__ = ["SYSTEMS", "System", "register_system"]


@dataclass(frozen=True, kw_only=True)
class System:
    """A named composition of parts and stages."""

    recipe: Callable[..., Recipe]
    """``recipe(version=..., size=...)`` returns the recipe."""
    versions: tuple[str, ...]
    """Variants; the first is the default."""


class _Systems(Mapping[str, System]):
    """Name -> system; packaged systems are imported on first use."""

    def __init__(self) -> None:
        self._packaged = ("llava", "compact", "blip2", "instructblip", "minigpt4", "nextgpt", "modaverse", "align")
        self._registered: dict[str, System] = {}

    def __getitem__(self, name: str) -> System:
        if name in self._packaged:
            found: System = resolve_name(f"inlay.recipes.systems.{name}:SYSTEM")
            return found
        return self._registered[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._packaged, *self._registered))

    def __len__(self) -> int:
        return len(self._packaged) + len(self._registered)

    def __contains__(self, name: object) -> bool:
        return name in self._packaged or name in self._registered

    def add(self, name: str, system: System) -> None:
        """See :func:`register_system`."""
        held = self._registered.get(name, system).recipe
        if name in self._packaged or not same_definition(_source(held), _source(system.recipe)):
            raise RecipeError(f"system {name}: another system has this name; choose another name")
        self._registered[name] = system


_SYSTEMS = _Systems()
SYSTEMS: Mapping[str, System] = _SYSTEMS
"""Name -> system, in the order of the documentation; registered ones last."""


def register_system(name: str, recipe: Recipe | Callable[..., Recipe], versions: tuple[str, ...] = ("1.0",)) -> None:
    """Register a system, so that ``inlay train NAME`` and ``finetune("NAME")`` find it.

    Args:
        name: lower case, such as ``llava``.
        recipe: a recipe, or a function ``recipe(version=..., size=...)`` with defaults; size is ``miniature`` or
            ``full``.
        versions: variants; the first is the default.

    Raises:
        RecipeError: the name is invalid or that of another system, there are no versions, or the recipe has another
            name. Registering the same recipe again is allowed.
    """
    if not name.isidentifier() or name != name.lower():
        raise RecipeError(f"system: expected a name in lower case such as llava, got {name!r}")
    if not versions:
        raise RecipeError(f"system {name}: expected at least one version")
    if not isinstance(recipe, Recipe) and not callable(recipe):
        raise RecipeError(f"system {name}: expected a Recipe or a function that returns one, got {recipe!r}")
    make = partial(_chosen, recipe) if isinstance(recipe, Recipe) else recipe
    for chosen in ({}, {"version": versions[0], "size": "miniature"}, {"version": versions[0], "size": "full"}):
        try:
            signature(make).bind(**chosen)
        except TypeError as error:
            raise RecipeError(f"system {name}: expected a function recipe(version=..., size=...): {error}") from None
        built = make(**chosen)
        if not isinstance(built, Recipe) or built.system != name:
            found = built.system if isinstance(built, Recipe) else type(built).__name__
            raise RecipeError(f"system {name}: expected a Recipe with system={name!r}, got {found!r}")
    _SYSTEMS.add(name, System(recipe=make, versions=versions))


def _chosen(recipe: Recipe, *, version: str = "", size: Size = "miniature") -> Recipe:
    """The only recipe of a system, for any version and size."""
    return replace(recipe, version=version or recipe.version, size=size)


def _source(make: Callable[..., Recipe]) -> object:
    """The object that identifies a system: its function or its recipe."""
    return make.args[0] if isinstance(make, partial) else make
