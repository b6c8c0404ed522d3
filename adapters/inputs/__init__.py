"""Input projectors: from an encoder's features to embeddings of the LLM. One file each, chosen by one field."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from inlay.adapters.inputs.cross_attention import CrossAttentionConfig, CrossAttentionProjector
from inlay.adapters.inputs.fields import MAX_PARAMETERS, ProjectorError
from inlay.adapters.inputs.instruct_qformer import InstructQFormerConfig, InstructQFormerProjector
from inlay.adapters.inputs.linear import LinearConfig, LinearProjector
from inlay.adapters.inputs.mlp import MlpConfig, MlpProjector
from inlay.adapters.inputs.patch_merge import PatchMergeConfig, PatchMergeProjector
from inlay.adapters.inputs.perceiver import PerceiverConfig, PerceiverProjector
from inlay.adapters.inputs.qformer import QFormer, QFormerConfig, QFormerProjector
from inlay.hub.errors import BundleError

__all__ = [
    "PROJECTORS",
    "CrossAttentionConfig",
    "CrossAttentionProjector",
    "InputProjector",
    "InstructQFormerConfig",
    "InstructQFormerProjector",
    "LinearConfig",
    "LinearProjector",
    "MlpConfig",
    "MlpProjector",
    "PatchMergeConfig",
    "PatchMergeProjector",
    "PerceiverConfig",
    "PerceiverProjector",
    "ProjectorError",
    "QFormer",
    "QFormerConfig",
    "QFormerProjector",
    "build_projector",
]


@runtime_checkable
class InputProjector(Protocol):
    """What a module has to offer to stand between an encoder and the LLM."""

    kind: str
    config: Any
    reads_prompt: bool
    """Whether it looks at the features with the instruction in mind."""

    def tokens(self, features: int) -> int:
        """LLM positions that so many features become."""
        ...

    @property
    def forward(self) -> Callable[..., Tensor]:
        """``[n, features, width_in]`` -> ``[n, tokens, width_out]``.

        One that reads the prompt takes ``forward(features, prompt_ids, prompt_mask)``, with ids and mask of shape
        ``[n, L]``, one row a medium, of the tokenizer that its configuration counts the ``vocabulary`` of.
        """
        ...


PROJECTORS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    LinearProjector.kind: (LinearProjector, LinearConfig),
    MlpProjector.kind: (MlpProjector, MlpConfig),
    QFormerProjector.kind: (QFormerProjector, QFormerConfig),
    InstructQFormerProjector.kind: (InstructQFormerProjector, InstructQFormerConfig),
    PatchMergeProjector.kind: (PatchMergeProjector, PatchMergeConfig),
    PerceiverProjector.kind: (PerceiverProjector, PerceiverConfig),
    CrossAttentionProjector.kind: (CrossAttentionProjector, CrossAttentionConfig),
}
"""Kind -> module and the dataclass of its configuration."""


def build_projector(kind: str, config: Mapping[str, Any], *, parameters: int | None = None) -> nn.Module:
    """A projector from its name and plain values, as a bundle stores them.

    The values are not trusted: each is checked against its bounds, and the whole is counted on the meta device before
    any memory is taken.

    Args:
        kind: a key of :data:`PROJECTORS`.
        config: its fields.
        parameters: how many numbers it must come to, if that is known; otherwise at most ``MAX_PARAMETERS``.

    Raises:
        BundleError: an unknown kind, an unknown or a missing field, a value out of bounds, or too large a whole.
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
    try:
        checked = config_type(**config)
    except ProjectorError as error:
        raise BundleError("inlay.json", f"{kind}: {error}", field="parts") from error
    _check_size(kind, module, checked, parameters)
    built: nn.Module = module(checked)
    return built


def _check_size(kind: str, module: type[nn.Module], config: Any, parameters: int | None) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in module(config).parameters())
    if count > MAX_PARAMETERS:
        reason = f"{kind} of these sizes has {count:,} parameters; at most {MAX_PARAMETERS:,} are taken"
        raise BundleError("inlay.json", reason, field="parts")
    if parameters is not None and count != parameters:
        reason = f"{kind} of these sizes has {count:,} parameters, the manifest says {parameters:,}"
        raise BundleError("inlay.json", reason, field="parts")
