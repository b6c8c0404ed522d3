"""Public names that load on first use.

A package lists its public names once, as imports under ``if TYPE_CHECKING:``, which type checkers and editors read.
:func:`lazy_names` reads the same list, so that ``import inlay.adapters`` does not import torch before it is needed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(package: str, file: str) -> tuple[list[str], Callable[[str], Any]]:
    """The public names of a package, and its ``__getattr__``.

    Args:
        package: ``__name__`` of the package.
        file: ``__file__`` of its ``__init__.py``.

    Returns:
        Values for ``__all__`` and ``__getattr__``.
    """
    homes: dict[str, str] = {}
    for statement in ast.parse(Path(file).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            for line in statement.body:
                if isinstance(line, ast.ImportFrom) and line.module:
                    homes |= dict.fromkeys((name.asname or name.name for name in line.names), line.module)

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = import_module(homes[name])
        return getattr(home, name) if hasattr(home, name) else import_module(f"{homes[name]}.{name}")

    return sorted(homes), load
