"""Output projectors: from the LLM's states at signal tokens to a generator's conditioning. One file each."""

from __future__ import annotations

from inlay.adapters.outputs.fields import OutputSizes
from inlay.adapters.outputs.mlp import MlpOutput, MlpOutputConfig
from inlay.adapters.outputs.protocol import OutputConfig, OutputProjector
from inlay.adapters.outputs.qformer import QFormerOutput, QFormerOutputConfig
from inlay.adapters.outputs.registry import OUTPUTS, build_output, new_output, output_config, register_output
from inlay.adapters.outputs.transformer import TransformerOutput, TransformerOutputConfig

__all__ = [
    "OUTPUTS",
    "MlpOutput",
    "MlpOutputConfig",
    "OutputConfig",
    "OutputProjector",
    "OutputSizes",
    "QFormerOutput",
    "QFormerOutputConfig",
    "TransformerOutput",
    "TransformerOutputConfig",
    "build_output",
    "new_output",
    "output_config",
    "register_output",
]
