"""The registry of systems: a name, its versions, and the function that gives its recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name

from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.recipe import Recipe

__all__ = ["SYSTEMS", "System", "register_system"]


@dataclass(frozen=True, kw_only=True)
class System:
    """A named composition of parts and stages."""

    recipe: Callable[..., Recipe]
    """``recipe(version=..., size=...)``."""
    versions: tuple[str, ...]
    """Variants; the first is the default."""


class _Systems(Mapping[str, System]):
    """Name -> system; those of the package are imported when they are asked for."""

    def __init__(self) -> None:
        self._packaged = ("llava", "blip2", "instructblip", "minigpt4", "nextgpt", "modaverse")
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
        if name in self._packaged:
            raise RecipeError(f"system {name}: the package has a system of that name")
        self._registered[name] = system


_SYSTEMS = _Systems()
SYSTEMS: Mapping[str, System] = _SYSTEMS
"""Name -> system, in the order of the documentation; registered ones last."""


def register_system(name: str, recipe: Callable[..., Recipe], versions: tuple[str, ...] = ("1.0",)) -> None:
    """Register a system, so that ``inlay train NAME`` finds it.

    Args:
        name: lower case, such as ``llava``.
        recipe: ``recipe(version=..., size=...)``; size is ``miniature`` or ``full``.
        versions: variants; the first is the default.

    Raises:
        RecipeError: a name that the package has, no versions, or a recipe of another name.
    """
    if not name.isidentifier() or name != name.lower():
        raise RecipeError(f"system: expected a name in lower case such as llava, got {name!r}")
    if not versions:
        raise RecipeError(f"system {name}: expected at least one version")
    for size in ("miniature", "full"):
        built = recipe(version=versions[0], size=size)
        if not isinstance(built, Recipe) or built.system != name:
            found = built.system if isinstance(built, Recipe) else type(built).__name__
            raise RecipeError(f"system {name}: expected a Recipe with system={name!r}, got {found!r}")
    _SYSTEMS.add(name, System(recipe=recipe, versions=versions))
