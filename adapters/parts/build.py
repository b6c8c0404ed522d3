"""Trained modules from a kind and plain values, as a bundle stores them; nothing in them is trusted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from inlay.adapters.parts.fields import MAX_PARAMETERS, ProjectorError
from inlay.hub.errors import BundleError

__all__ = ["MANIFEST", "Registry", "build_module", "checked_config"]

MANIFEST = "inlay.json"
Registry = Mapping[str, tuple[type[nn.Module], type[Any]]]
"""Kind -> module and the dataclass of its configuration."""


def build_module(
    registry: Registry, kind: str, config: Mapping[str, Any], *, unknown: str, parameters: int | None = None
) -> nn.Module:
    """A module of a registry.

    Each value is checked against its bounds, and the whole is counted on the meta device before any memory is taken.

    Args:
        registry: the kinds that there are.
        kind: a key of it.
        config: the fields of its configuration.
        unknown: the error's text for another kind, with a hole for it and one for those that are known.
        parameters: how many numbers it must come to, if that is known; otherwise at most ``MAX_PARAMETERS``.

    Raises:
        BundleError: an unknown kind, an unknown or a missing field, a value out of bounds, or too large a whole.
    """
    if kind not in registry:
        raise BundleError(MANIFEST, unknown.format(kind, ", ".join(registry)), field="parts")
    module, config_type = registry[kind]
    checked = checked_config(kind, config_type, config)
    _check_size(kind, module, checked, parameters)
    built: nn.Module = module(checked)
    return built


def checked_config(kind: str, config_type: type[Any], config: Mapping[str, Any]) -> Any:
    """A configuration from plain values.

    Raises:
        BundleError: an unknown or a missing field, or a value out of bounds.
    """
    fields = {field.name: field for field in dataclasses.fields(config_type)}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    if strange := set(config) - set(fields):
        raise BundleError(MANIFEST, f"{kind} has no field {', '.join(sorted(strange))}", field="parts")
    if missing := required - set(config):
        raise BundleError(MANIFEST, f"{kind} needs the field {', '.join(sorted(missing))}", field="parts")
    try:
        return config_type(**config)
    except ProjectorError as error:
        raise BundleError(MANIFEST, f"{kind}: {error}", field="parts") from error


def _check_size(kind: str, module: type[nn.Module], config: Any, parameters: int | None) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in module(config).parameters())
    if count > MAX_PARAMETERS:
        reason = f"{kind} of these sizes has {count:,} parameters; at most {MAX_PARAMETERS:,} are taken"
        raise BundleError(MANIFEST, reason, field="parts")
    if parameters is not None and count != parameters:
        reason = f"{kind} of these sizes has {count:,} parameters, the manifest says {parameters:,}"
        raise BundleError(MANIFEST, reason, field="parts")
