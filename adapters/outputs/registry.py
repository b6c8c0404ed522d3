"""The output projectors by kind, and the registration of a user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from inlay.adapters.outputs.fields import OutputSizes
from inlay.adapters.outputs.mlp import MlpOutput, MlpOutputConfig
from inlay.adapters.outputs.protocol import OutputConfig
from inlay.adapters.outputs.qformer import QFormerOutput, QFormerOutputConfig
from inlay.adapters.outputs.transformer import TransformerOutput, TransformerOutputConfig
from inlay.adapters.parts.build import build_module, named_config, new_module
from inlay.adapters.parts.registration import IMPORT_OWN
from inlay.adapters.parts.registry import register_part

__all__ = ["OUTPUTS", "build_output", "new_output", "output_config", "register_output"]

UNKNOWN = f"unknown output projector {{!r}}; known: {{}}; {IMPORT_OWN}, which calls register_output(Module, Config)"

OUTPUTS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    TransformerOutput.kind: (TransformerOutput, TransformerOutputConfig),
    MlpOutput.kind: (MlpOutput, MlpOutputConfig),
    QFormerOutput.kind: (QFormerOutput, QFormerOutputConfig),
}
"""Kind -> module class and the dataclass of its configuration."""


def register_output(module: type[nn.Module], config: type[Any]) -> None:
    """Register an output projector, so that it can be trained, stored in bundles and read from them.

    Args:
        module: a class that is built from a configuration alone and has ``kind`` and ``forward``, see
            :class:`~inlay.adapters.outputs.protocol.OutputProjector`.
        config: a dataclass with the fields of :class:`~inlay.adapters.outputs.fields.OutputSizes`, preferably a
            subclass. It checks its own fields (:func:`~inlay.adapters.parts.fields.check_fields`), since bundles are
            untrusted.

    Raises:
        RegistrationError: something is missing, or the kind or the configuration belongs to another output projector.
            Registering the same classes again is allowed.
    """
    needed = [field.name for field in dataclasses.fields(OutputSizes)]
    register_part(OUTPUTS, module, config, "output projector", attributes=("forward",), fields=needed)


def new_output(config: OutputConfig, *, width_in: int, signals: int, tokens: int, width_out: int) -> nn.Module:
    """An untrained output projector; the sizes that its configuration leaves out are filled in.

    Args:
        config: an instance of a registered configuration class, such as ``TransformerOutputConfig()``.
        width_in: values per hidden state of the LLM.
        signals: signal tokens of the modality.
        tokens: vectors of the generator's conditioning.
        width_out: values per vector of the conditioning.

    Raises:
        ConfigError: as in :func:`inlay.adapters.parts.build.new_module`.
    """
    return new_module(OUTPUTS, config, width_in=width_in, signals=signals, tokens=tokens, width_out=width_out)


def output_config(kind: str, values: Mapping[str, Any]) -> OutputConfig:
    """A configuration from its kind and plain values, for settings that name the kind.

    Raises:
        ConfigError: an unknown kind, an unknown or a missing field, or a value out of bounds.
    """
    config: OutputConfig = named_config(OUTPUTS, kind, values, unknown=UNKNOWN)
    return config


def build_output(kind: str, values: Mapping[str, Any], *, parameters: int | None = None) -> nn.Module:
    """An output projector from its kind and plain, untrusted values, as a bundle stores them.

    Args:
        kind: a key of :data:`OUTPUTS`.
        values: the fields of its configuration.
        parameters: the exact number of parameters, if known.

    Raises:
        BundleError: as in :func:`inlay.adapters.parts.build.build_module`.
    """
    return build_module(OUTPUTS, kind, values, unknown=UNKNOWN, parameters=parameters)
