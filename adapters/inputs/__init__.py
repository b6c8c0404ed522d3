"""Input projectors: from an encoder's features to embeddings of the LLM. One file each, chosen by one field."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from inlay.adapters.inputs.linear import LinearConfig, LinearProjector
from inlay.adapters.inputs.mlp import MlpConfig, MlpProjector
from inlay.hub.errors import BundleError

__all__ = [
    "PROJECTORS",
    "InputProjector",
    "LinearConfig",
    "LinearProjector",
    "MlpConfig",
    "MlpProjector",
    "build_projector",
]


@runtime_checkable
class InputProjector(Protocol):
    """What a module has to offer to stand between an encoder and the LLM."""

    kind: str
    config: Any

    def tokens(self, features: int) -> int:
        """LLM positions that so many features become."""
        ...

    def forward(self, features: Tensor) -> Tensor:
        """``[n, features, width_in]`` -> ``[n, tokens, width_out]``."""
        ...


PROJECTORS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    LinearProjector.kind: (LinearProjector, LinearConfig),
    MlpProjector.kind: (MlpProjector, MlpConfig),
}
"""Kind -> module and the dataclass of its configuration."""


def build_projector(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """A projector from its name and plain values, as a bundle stores them.

    Raises:
        BundleError: an unknown kind, an unknown or a missing field, a value that is not a positive integer.
    """
    if kind not in PROJECTORS:
        raise BundleError("inlay.json", f"unknown projector {kind!r}; known: {', '.join(PROJECTORS)}", field="parts")
    module, config_type = PROJECTORS[kind]
    fields = {field.name: field for field in dataclasses.fields(config_type)}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    if unknown := set(config) - set(fields):
        raise BundleError("inlay.json", f"{kind} has no field {', '.join(sorted(unknown))}", field="parts")
    if missing := required - set(config):
        raise BundleError("inlay.json", f"{kind} needs the field {', '.join(sorted(missing))}", field="parts")
    for name, value in config.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1 << 20:
            raise BundleError(
                "inlay.json", f"{kind}: {name}: expected a positive integer, got {value!r}", field="parts"
            )
    built: nn.Module = module(config_type(**config))
    return built
