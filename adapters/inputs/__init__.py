"""Input projectors: from an encoder's features to embeddings of the LLM. One file each, chosen by one field."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from inlay.adapters.inputs.cformer import CFormerConfig, CFormerProjector
from inlay.adapters.inputs.cross_attention import CrossAttentionConfig, CrossAttentionProjector
from inlay.adapters.inputs.instruct_qformer import InstructQFormerConfig, InstructQFormerProjector
from inlay.adapters.inputs.linear import LinearConfig, LinearProjector
from inlay.adapters.inputs.mlp import MlpConfig, MlpProjector
from inlay.adapters.inputs.patch_merge import PatchMergeConfig, PatchMergeProjector
from inlay.adapters.inputs.perceiver import PerceiverConfig, PerceiverProjector
from inlay.adapters.inputs.qformer import QFormer, QFormerConfig, QFormerProjector
from inlay.adapters.parts.build import build_module
from inlay.adapters.parts.fields import ProjectorError

__all__ = [
    "PROJECTORS",
    "CFormerConfig",
    "CFormerProjector",
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
    "register_projector",
]


UNKNOWN = "unknown projector {!r}; known: {}. One of your own is made known first: register_projector(Module, Config)"


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
    CFormerProjector.kind: (CFormerProjector, CFormerConfig),
}
"""Kind -> module and the dataclass of its configuration."""


def register_projector(module: type[nn.Module], config: type[Any]) -> None:
    """Make a projector of one's own known, to train it, store it in bundles and read it from them.

    Args:
        module: built from a configuration alone; has ``kind``, ``reads_prompt``, ``tokens`` and ``forward``, see
            :class:`InputProjector`.
        config: a dataclass with the fields ``width_in`` and ``width_out``. It checks its fields itself
            (:func:`~inlay.adapters.parts.fields.check_fields`), since a bundle is somebody's text.

    Raises:
        ProjectorError: something is lacking, or another projector has this kind. The same one again is no error.
    """
    kind = getattr(module, "kind", None)
    if not isinstance(kind, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", kind):
        raise ProjectorError(f"{module.__name__}: kind: expected a name of letters and digits, got {kind!r}")
    lacking = [name for name in ("reads_prompt", "tokens", "forward") if not hasattr(module, name)]
    if not issubclass(module, nn.Module) or lacking:
        raise ProjectorError(
            f"{kind}: expected an nn.Module with reads_prompt, tokens and forward, got {module.__name__}, which lacks "
            f"{', '.join(lacking) or 'only that it is no nn.Module'}"
        )
    names = {field.name for field in dataclasses.fields(config)} if dataclasses.is_dataclass(config) else set()
    if not {"width_in", "width_out"} <= names:
        raise ProjectorError(
            f"{kind}: expected a dataclass with the fields width_in and width_out as configuration, got "
            f"{config.__name__} with {', '.join(sorted(names)) or 'none'}"
        )
    if PROJECTORS.get(kind, (module, config)) != (module, config):
        raise ProjectorError(f"{kind}: another projector has this kind, {PROJECTORS[kind][0].__name__}; choose another")
    PROJECTORS[kind] = (module, config)


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
    return build_module(PROJECTORS, kind, config, unknown=UNKNOWN, parameters=parameters)
