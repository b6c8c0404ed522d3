"""Building trainable modules from a kind and plain values, as stored in a bundle. The values are untrusted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import nn

from inlay.adapters.parts.fields import MAX_PARAMETERS, ConfigError, complete, port_fields
from inlay.hub.errors import BundleError, InlayError
from inlay.hub.format.manifest import MANIFEST_NAME

__all__ = ["Kinds", "build_module", "named_config", "new_module"]

Kinds: TypeAlias = Mapping[str, tuple[type[nn.Module], type[Any]]]
"""Kind -> module class and the dataclass of its configuration."""


def build_module(
    kinds: Kinds, kind: str, values: Mapping[str, Any], *, unknown: str, parameters: int | None = None
) -> nn.Module:
    """Build a module from its description in a bundle.

    Each value is checked against its bounds, and the parameters are counted on the meta device before any memory is
    allocated.

    Args:
        kinds: the known kinds.
        kind: one of the known kinds.
        values: the fields of its configuration.
        unknown: text of the error for an unknown kind, with ``{}`` for it and for the known kinds.
        parameters: the exact number of parameters, if known; otherwise at most ``MAX_PARAMETERS`` are allowed.

    Raises:
        BundleError: an unknown kind, an unknown or a missing field, a value out of bounds, or too many parameters.
    """
    if kind not in kinds:
        raise BundleError(MANIFEST_NAME, unknown.format(kind, ", ".join(kinds)), field="parts")
    module, config_type = kinds[kind]
    try:
        config = complete(_config(config_type, values, port_fields(config_type)))
    except (InlayError, TypeError, ValueError) as error:
        raise BundleError(MANIFEST_NAME, f"{kind}: {error}", field="parts") from error
    count = _parameters(module, config)
    if parameters is not None and count != parameters:
        reason = f"{kind} of these sizes has {count:,} parameters, expected {parameters:,} as in the manifest"
        raise BundleError(MANIFEST_NAME, reason, field="parts")
    if count > MAX_PARAMETERS:
        raise BundleError(MANIFEST_NAME, _too_many(kind, count), field="parts")
    built: nn.Module = module(config)
    return built


def new_module(kinds: Kinds, config: Any, **sizes: int) -> nn.Module:
    """Create an untrained module for a configuration.

    Args:
        kinds: the known kinds.
        config: an instance of one of their configuration classes.
        sizes: the sizes of the backbone's ports, see :func:`inlay.adapters.parts.fields.complete`.

    Raises:
        ConfigError: the configuration's class is not registered, a size is missing or differs from the backbone's, or
            there are too many parameters.
    """
    for kind, (module, config_type) in kinds.items():
        if type(config) is config_type:
            filled = complete(config, **sizes)
            if (count := _parameters(module, filled)) > MAX_PARAMETERS:
                raise ConfigError(_too_many(kind, count))
            built: nn.Module = module(filled)
            return built
    known = ", ".join(config_type.__name__ for _, config_type in kinds.values())
    raise ConfigError(f"expected a configuration of a registered class ({known}), got {config!r}")


def named_config(kinds: Kinds, kind: str, values: Mapping[str, Any], *, unknown: str) -> Any:
    """A configuration from a kind and plain values, such as those of a settings file.

    Args:
        kinds: the known kinds.
        kind: one of the known kinds.
        values: field -> value; the sizes of the ports may be omitted if their fields have a default.
        unknown: as in :func:`build_module`.

    Raises:
        ConfigError: an unknown kind, an unknown or a missing field, or a value out of bounds.
    """
    if kind not in kinds:
        raise ConfigError(unknown.format(kind, ", ".join(kinds)))
    try:
        return _config(kinds[kind][1], values, ())
    except InlayError as error:
        raise ConfigError(f"{kind}: {error}") from error


def _config(config_type: type[Any], values: Mapping[str, Any], needed: Iterable[str]) -> Any:
    """A configuration from plain values; ``needed`` are fields that must be given although they have a default."""
    fields = {field.name: field for field in dataclasses.fields(config_type)}
    if unknown := set(values) - set(fields):
        raise ConfigError(f"there is no field {', '.join(sorted(unknown))}; expected {', '.join(fields)}")
    required = {name for name, field in fields.items() if _has_no_default(field)}
    if missing := {*required, *needed} - set(values):
        raise ConfigError(f"the field {', '.join(sorted(missing))} is missing")
    return config_type(**values)


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _parameters(module: type[nn.Module], config: Any) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in module(config).parameters())


def _too_many(kind: str, count: int) -> str:
    return f"{kind} of these sizes has {count:,} parameters; at most {MAX_PARAMETERS:,} are allowed"
