"""Input projectors: from an encoder's features to embeddings of the LLM. One file each, chosen by one field."""

from __future__ import annotations

from inlay.adapters.inputs.avg_pool import AvgPoolConfig, AvgPoolProjector
from inlay.adapters.inputs.cformer import CFormerConfig, CFormerProjector
from inlay.adapters.inputs.cross_attention import CrossAttentionConfig, CrossAttentionProjector
from inlay.adapters.inputs.instruct_qformer import InstructQFormerConfig, InstructQFormerProjector
from inlay.adapters.inputs.linear import LinearConfig, LinearProjector
from inlay.adapters.inputs.mlp import MlpConfig, MlpProjector
from inlay.adapters.inputs.patch_merge import PatchMergeConfig, PatchMergeProjector
from inlay.adapters.inputs.perceiver import PerceiverConfig, PerceiverProjector
from inlay.adapters.inputs.pixel_shuffle import PixelShuffleConfig, PixelShuffleProjector
from inlay.adapters.inputs.protocol import InputProjector, ProjectorConfig, ProjectorError
from inlay.adapters.inputs.qformer import QFormer, QFormerConfig, QFormerProjector
from inlay.adapters.inputs.registry import (
    PROJECTORS,
    build_projector,
    new_projector,
    projector_config,
    register_projector,
)

__all__ = [
    "PROJECTORS",
    "AvgPoolConfig",
    "AvgPoolProjector",
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
    "PixelShuffleConfig",
    "PixelShuffleProjector",
    "ProjectorConfig",
    "ProjectorError",
    "QFormer",
    "QFormerConfig",
    "QFormerProjector",
    "build_projector",
    "new_projector",
    "projector_config",
    "register_projector",
]
