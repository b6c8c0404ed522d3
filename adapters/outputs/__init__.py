"""Output projectors: from the LLM's states at signal tokens to a generator's conditioning. One file each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from inlay.adapters.outputs.fields import OutputSizes
from inlay.adapters.outputs.mlp import MlpOutput, MlpOutputConfig
from inlay.adapters.outputs.qformer import QFormerOutput, QFormerOutputConfig
from inlay.adapters.outputs.transformer import TransformerOutput, TransformerOutputConfig
from inlay.adapters.parts.build import build_module
from inlay.adapters.parts.fields import ProjectorError

__all__ = [
    "OUTPUTS",
    "MlpOutput",
    "MlpOutputConfig",
    "OutputProjector",
    "OutputSizes",
    "QFormerOutput",
    "QFormerOutputConfig",
    "TransformerOutput",
    "TransformerOutputConfig",
    "build_output",
    "register_output",
]

UNKNOWN = (
    "unknown output projector {!r}; known: {}. One of your own is made known first: register_output(Module, Config)"
)


@runtime_checkable
class OutputProjector(Protocol):
    """What a module has to offer to stand between the LLM and a generator."""

    kind: str
    config: Any
    """Has the fields of :class:`OutputSizes`."""

    @property
    def forward(self) -> Callable[..., Tensor]:
        """``[n, signals, width_in]`` -> ``[n, tokens, width_out]``.

        What comes in is the last hidden state of each signal token *plus* its input embedding, at the position where
        the signal token is read (not at the one before, which predicts it).
        """
        ...


OUTPUTS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    TransformerOutput.kind: (TransformerOutput, TransformerOutputConfig),
    MlpOutput.kind: (MlpOutput, MlpOutputConfig),
    QFormerOutput.kind: (QFormerOutput, QFormerOutputConfig),
}
"""Kind -> module and the dataclass of its configuration."""


def register_output(module: type[nn.Module], config: type[Any]) -> None:
    """Make an output projector of one's own known, to train it, store it in bundles and read it from them.

    Args:
        module: built from a configuration alone; has ``kind`` and ``forward``, see :class:`OutputProjector`.
        config: a dataclass with the fields of :class:`OutputSizes`, best one that extends it. It checks its fields
            itself (:func:`~inlay.adapters.parts.fields.check_fields`), since a bundle is somebody's text.

    Raises:
        ProjectorError: something is lacking, or another output projector has this kind. The same one again is no error.
    """
    kind = getattr(module, "kind", None)
    if not isinstance(kind, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", kind):
        raise ProjectorError(f"{module.__name__}: kind: expected a name of letters and digits, got {kind!r}")
    if not issubclass(module, nn.Module):
        raise ProjectorError(f"{kind}: expected an nn.Module, got {module.__name__}")
    wanted = {field.name for field in dataclasses.fields(OutputSizes)}
    names = {field.name for field in dataclasses.fields(config)} if dataclasses.is_dataclass(config) else set()
    if not wanted <= names:
        raise ProjectorError(
            f"{kind}: expected a dataclass with the fields {', '.join(sorted(wanted))} as configuration, got "
            f"{config.__name__}, which lacks {', '.join(sorted(wanted - names))}"
        )
    if OUTPUTS.get(kind, (module, config)) != (module, config):
        raise ProjectorError(f"{kind}: another output projector has this kind, {OUTPUTS[kind][0].__name__}")
    OUTPUTS[kind] = (module, config)


def build_output(kind: str, config: Mapping[str, Any], *, parameters: int | None = None) -> nn.Module:
    """An output projector from its name and plain values, none of which is trusted.

    Args:
        kind: a key of :data:`OUTPUTS`.
        config: its fields.
        parameters: how many numbers it must come to, if that is known.

    Raises:
        BundleError: as of :func:`inlay.adapters.parts.build.build_module`.
    """
    return build_module(OUTPUTS, kind, config, unknown=UNKNOWN, parameters=parameters)
