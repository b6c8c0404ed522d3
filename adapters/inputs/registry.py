"""The input projectors by kind, and the registration of a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from inlay.adapters.inputs.avg_pool import AvgPoolConfig, AvgPoolProjector
from inlay.adapters.inputs.cformer import CFormerConfig, CFormerProjector
from inlay.adapters.inputs.cross_attention import CrossAttentionConfig, CrossAttentionProjector
from inlay.adapters.inputs.instruct_qformer import InstructQFormerConfig, InstructQFormerProjector
from inlay.adapters.inputs.linear import LinearConfig, LinearProjector
from inlay.adapters.inputs.mlp import MlpConfig, MlpProjector
from inlay.adapters.inputs.patch_merge import PatchMergeConfig, PatchMergeProjector
from inlay.adapters.inputs.perceiver import PerceiverConfig, PerceiverProjector
from inlay.adapters.inputs.pixel_shuffle import PixelShuffleConfig, PixelShuffleProjector
from inlay.adapters.inputs.protocol import ProjectorConfig
from inlay.adapters.inputs.qformer import QFormerConfig, QFormerProjector
from inlay.adapters.parts.build import build_module, named_config, new_module
from inlay.adapters.parts.registration import IMPORT_OWN
from inlay.adapters.parts.registry import register_part

__all__ = ["PROJECTORS", "build_projector", "new_projector", "projector_config", "register_projector"]

UNKNOWN = f"unknown projector {{!r}}; known: {{}}; {IMPORT_OWN}, which calls register_projector(Module, Config)"

PROJECTORS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    LinearProjector.kind: (LinearProjector, LinearConfig),
    MlpProjector.kind: (MlpProjector, MlpConfig),
    QFormerProjector.kind: (QFormerProjector, QFormerConfig),
    InstructQFormerProjector.kind: (InstructQFormerProjector, InstructQFormerConfig),
    PatchMergeProjector.kind: (PatchMergeProjector, PatchMergeConfig),
    PixelShuffleProjector.kind: (PixelShuffleProjector, PixelShuffleConfig),
    AvgPoolProjector.kind: (AvgPoolProjector, AvgPoolConfig),
    PerceiverProjector.kind: (PerceiverProjector, PerceiverConfig),
    CrossAttentionProjector.kind: (CrossAttentionProjector, CrossAttentionConfig),
    CFormerProjector.kind: (CFormerProjector, CFormerConfig),
}
"""Kind -> module class and the dataclass of its configuration."""


def register_projector(module: type[nn.Module], config: type[Any]) -> None:
    """Register an input projector, so that it can be trained, stored in bundles and read from them.

    Args:
        module: a class that is built from a configuration alone and has ``kind``, ``reads_prompt``, ``tokens`` and
            ``forward``, see
            :class:`~inlay.adapters.inputs.protocol.InputProjector`.
        config: a dataclass with the fields ``width_in`` and ``width_out``. Annotate them as
            :data:`~inlay.adapters.parts.fields.PortSize`, with the default 0, if they are to be read from the backbone.
            It checks its own fields (:func:`~inlay.adapters.parts.fields.check_fields`), since bundles are untrusted.

    Raises:
        RegistrationError: something is missing, or the kind or the configuration belongs to another projector.
            Registering the same classes again is allowed.
    """
    needed = ("reads_prompt", "tokens", "forward")
    register_part(PROJECTORS, module, config, "projector", attributes=needed, fields=("width_in", "width_out"))


def new_projector(config: ProjectorConfig, *, width_in: int, width_out: int) -> nn.Module:
    """An untrained projector; the widths that its configuration leaves out are filled in.

    Args:
        config: an instance of a registered configuration class, such as ``MlpConfig()``.
        width_in: values per feature of the encoder.
        width_out: values per embedding of the LLM.

    Raises:
        ConfigError: as in :func:`inlay.adapters.parts.build.new_module`.

    Example:
        >>> new_projector(MlpConfig(), width_in=8, width_out=6).config
        MlpConfig(width_in=8, width_out=6, depth=2)
    """
    return new_module(PROJECTORS, config, width_in=width_in, width_out=width_out)


def projector_config(kind: str, values: Mapping[str, Any]) -> ProjectorConfig:
    """A configuration from its kind and plain values, for settings that name the kind.

    Raises:
        ConfigError: an unknown kind, an unknown or a missing field, or a value out of bounds.

    Example:
        >>> projector_config("mlp", {"depth": 3})
        MlpConfig(width_in=0, width_out=0, depth=3)
    """
    config: ProjectorConfig = named_config(PROJECTORS, kind, values, unknown=UNKNOWN)
    return config


def build_projector(kind: str, values: Mapping[str, Any], *, parameters: int | None = None) -> nn.Module:
    """A projector from its kind and plain, untrusted values, as a bundle stores them.

    Args:
        kind: a key of :data:`PROJECTORS`.
        values: the fields of its configuration.
        parameters: the exact number of parameters, if known.

    Raises:
        BundleError: as in :func:`inlay.adapters.parts.build.build_module`.
    """
    return build_module(PROJECTORS, kind, values, unknown=UNKNOWN, parameters=parameters)
