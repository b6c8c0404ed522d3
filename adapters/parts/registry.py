"""Registration of a user's own classes: one line each, checked when it is called.

A table maps a name to an entry. A name that a bundle stores must always mean the same thing, so a second entry under
the same name is refused; registering the same entry again does nothing, since a module may be imported twice.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, MutableMapping
from typing import Any, TypeVar

from torch import nn

from inlay.hub.errors import InlayError

__all__ = ["RegistrationError", "register", "register_part"]

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


class RegistrationError(InlayError):
    """A class cannot be registered: something that it must have is missing, or its name is taken."""


def register(table: MutableMapping[str, T], name: object, entry: T, what: str) -> None:
    """Add an entry to a table.

    Args:
        table: name to entry; changed in place.
        name: letters, digits, ``_``, ``-`` and ``.``.
        entry: what the name stands for.
        what: the sort of entry, for the error, such as ``projector``.

    Raises:
        RegistrationError: not a name, or the name of another entry.

    Example:
        >>> table = {}
        >>> register(table, "mean", min, "pooling")
        >>> register(table, "mean", min, "pooling")
        >>> list(table)
        ['mean']
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RegistrationError(f"{what}: expected a name of letters and digits, got {name!r}")
    if name in table and table[name] != entry:
        raise RegistrationError(f"{what} {name!r} is already registered as {_named(table[name])}; choose another name")
    table[name] = entry


def register_part(
    table: MutableMapping[str, tuple[type[nn.Module], type[Any]]],
    module: type[nn.Module],
    config: type[Any],
    what: str,
    *,
    attributes: Collection[str],
    fields: Collection[str],
) -> None:
    """Add a trainable module and its configuration to a table, under the module's ``kind``.

    Args:
        table: kind to both classes; changed in place.
        module: an ``nn.Module`` that is built from a configuration alone.
        config: a dataclass.
        what: the sort of part, such as ``projector``.
        attributes: names that the module class must have, besides ``kind``.
        fields: names of fields that the configuration must have.

    Raises:
        RegistrationError: says what is missing.
    """
    name = getattr(module, "__name__", repr(module))
    if not (isinstance(module, type) and issubclass(module, nn.Module)):
        raise RegistrationError(f"{what}: expected a class that extends nn.Module, got {name}")
    if missing := [attribute for attribute in ("kind", *attributes) if not hasattr(module, attribute)]:
        raise RegistrationError(f"{what} {name}: the class has no {', '.join(missing)}")
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise RegistrationError(f"{what} {name}: configuration: expected a dataclass, got {config!r}")
    held = [field.name for field in dataclasses.fields(config)]
    if missing := [field for field in fields if field not in held]:
        raise RegistrationError(f"{what} {name}: {config.__name__} has no field {', '.join(missing)}")
    kind: Any = getattr(module, "kind")  # noqa: B009  # checked above, and unknown to nn.Module
    for other, (_, taken) in table.items():
        if taken is config and other != kind:
            raise RegistrationError(
                f"{what} {name}: {config.__name__} is the configuration of {other!r}; a configuration says which "
                f"module is built, so make a class of its own: class {name}Config({config.__name__})"
            )
    register(table, kind, (module, config), what)


def _named(entry: object) -> str:
    first = entry[0] if isinstance(entry, tuple) else entry
    return str(getattr(first, "__name__", first))
