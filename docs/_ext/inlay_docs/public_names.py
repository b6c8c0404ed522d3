"""The public names of a floor, grouped by room, and those that parts of your own need, as directives of autodoc."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["FLOORS", "extension_names", "markdown", "names", "room"]

FLOORS = ("inlay.adapters", "inlay.recipes", "inlay.hub")
_HOMES = {"PortSpec": "inlay.hub"}
"""Name -> the floor that documents it, where two floors export it."""
_EXAMPLES = Path(__file__).parents[3] / "examples" / "extend"


def names(floor: str) -> dict[str, Any]:
    """Name -> object of everything that a floor exports."""
    module = import_module(floor)
    return {name: getattr(module, name) for name in sorted(module.__all__)}


def room(floor: str, name: str, value: Any) -> str:
    """The room in which a name is defined: the first folder below the floor."""
    home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "") or ""
    if not home.startswith(floor):
        home = _defined(floor, name)
    rest = home.removeprefix(floor).strip(".").split(".")
    return rest[0] or floor.rpartition(".")[2]


def extension_names(floor: str) -> dict[str, list[str]]:
    """Module -> names that the examples of own parts import from it, where the floor itself does not export them."""
    exported = {id(value) for value in names(floor).values()}
    found: dict[str, set[str]] = {}
    for path in sorted(_EXAMPLES.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{floor}."):
                module = import_module(str(node.module))
                own = {alias.name for alias in node.names if id(getattr(module, alias.name)) not in exported}
                found.setdefault(str(node.module), set()).update(own)
    return {module: sorted(own) for module, own in sorted(found.items()) if own}


def markdown(floor: str) -> str:
    """Directives of autodoc for a floor, one heading for each room, and one for the names of own parts."""
    rooms: dict[str, list[str]] = {}
    for name, value in names(floor).items():
        rooms.setdefault(room(floor, name, value), []).append(_directive(floor, name, value))
    parts = [f"## {title}\n\n```{{eval-rst}}\n{chr(10).join(rooms[title])}\n```" for title in sorted(rooms)]
    if extras := extension_names(floor):
        own = [
            _directive(module, name, getattr(import_module(module), name))
            for module in extras
            for name in extras[module]
        ]
        text = "Import these from the module in front of the name; [Bring your own](../howto/extending.md) uses each."
        parts.append(f"## For parts of your own\n\n{text}\n\n```{{eval-rst}}\n{chr(10).join(own)}\n```")
    return "\n\n".join(parts)


def _directive(floor: str, name: str, value: Any) -> str:
    again = f"{name}: see ``{_HOMES[name]}``" if _HOMES.get(name, floor) != floor else ""
    if again:
        return f"``{floor}.{again}``.\n"
    if isinstance(value, ModuleType):
        about = inspect.cleandoc(value.__doc__ or "")
        return f".. py:module:: {floor}.{name}\n\n{about}\n\n.. autofunction:: {floor}.{name}.recipe\n"
    kind = "autoclass" if inspect.isclass(value) else "autofunction" if inspect.isroutine(value) else "autodata"
    return f".. {kind}:: {floor}.{name}\n"


def _defined(floor: str, name: str) -> str:
    """The module from which a floor imports a name that has no module of its own, such as a union of classes."""
    source = inspect.getsource(import_module(floor))
    for line in source.splitlines():
        words = line.split()
        if words[:1] == ["from"] and name in words:
            return words[1]
    return floor
