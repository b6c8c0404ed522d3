"""Registration of a user's own trainable parts, see :mod:`inlay.adapters.parts.registration`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, MutableMapping
from typing import Any

from torch import nn

from inlay.adapters.parts.registration import RegistrationError, register

__all__ = ["register_part"]


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
        what: the kind of part, such as ``projector``.
        attributes: names that the module class must have, besides ``kind``.
        fields: names of fields that the configuration must have.

    Raises:
        RegistrationError: names the missing attribute or field.
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
                f"{what} {name}: {config.__name__} is the configuration of {other!r}; a configuration determines "
                f"which module is built, so define a class of its own: class {name}Config({config.__name__})"
            )
    register(table, kind, (module, config), what)
