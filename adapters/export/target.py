"""An export target: the function that writes it, and its options. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_type_hints

from inlay.hub.errors import InlayError

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter
    from inlay.adapters.export.report import Written
    from inlay.adapters.export.request import Request

__all__ = ["ExportError", "Exporter", "NoOptions", "Target", "option"]

Exporter: TypeAlias = "Callable[[Request, Path], Written]"
"""Writes the files of a target into an empty folder, and returns the checks that it ran on them."""


class ExportError(InlayError):
    """A target cannot express an adapter, an option is wrong, or a check of the written files failed."""


def option(default: Any, about: str) -> Any:
    """A field of a target's options, with its help text for ``inlay export --help``.

    Args:
        default: the value if the option is not given.
        about: what it does, in one line.
    """
    return field(default=default, metadata={"help": about})


@dataclass(frozen=True)
class NoOptions:
    """The options of a target that has none."""


@dataclass(frozen=True)
class Target:
    """One format of another program."""

    exporter: Exporter | str
    """The function, or ``module:function``, which is imported when it is used."""
    about: str
    """The written files and the programs that read them, in one line."""
    options: type[Any] = NoOptions
    """A frozen dataclass with one :func:`option` a field."""
    precheck: Callable[[Adapter], object] | str | None = None
    """Raises for an adapter that cannot be expressed with any backbone, before the frozen models are loaded."""

    def load(self) -> Exporter:
        """The function."""
        function: Exporter = _imported(self.exporter)
        return function

    def check(self, adapter: Adapter) -> None:
        """Run the precheck.

        Raises:
            ExportError: the target cannot express this adapter.
        """
        if self.precheck is not None:
            _imported(self.precheck)(adapter)

    @property
    def types(self) -> dict[str, Any]:
        """Name of each option -> its type."""
        hints = get_type_hints(self.options)
        return {item.name: hints[item.name] for item in fields(self.options)}


def _imported(function: Any) -> Any:
    """The function itself, or the one at ``module:function``."""
    if callable(function):
        return function
    module, _, name = str(function).partition(":")
    return getattr(import_module(module), name)
