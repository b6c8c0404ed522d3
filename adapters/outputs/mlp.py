"""MLP output projector: an MLP for each signal token, then a learned mixture for each vector of the conditioning.

``y = M f(x)``: ``f`` is ``depth`` linear layers with exact GELU between them, from the LLM's width to the generator's;
``M`` ``[tokens, signals]`` is learned, is initialised near the mean, and is left out where both counts are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from inlay.adapters.outputs.fields import OutputSizes
from inlay.adapters.parts.fields import Depth, Size, complete

__all__ = ["MlpOutput", "MlpOutputConfig"]


@dataclass(frozen=True, kw_only=True)
class MlpOutputConfig(OutputSizes):
    """Sizes of the layers."""

    hidden: Size = 512
    """Width between the linear layers."""
    depth: Depth = 2
    """Linear layers; 1 means a single one, which has no hidden width."""


class MlpOutput(nn.Module):
    """``[n, signals, width_in]`` -> ``[n, tokens, width_out]``.

    Example:
        >>> config = MlpOutputConfig(width_in=4096, signals=4, tokens=77, width_out=768)
        >>> sum(p.numel() for p in MlpOutput(config).parameters())
        2491956
    """

    kind = "mlp"

    def __init__(self, config: MlpOutputConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        widths = [config.width_in, *[config.hidden] * (config.depth - 1), config.width_out]
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [nn.GELU()] * bool(layers) + [nn.Linear(narrow, wide)]
        self.layers = nn.Sequential(*layers)
        self.mixture: nn.Parameter | None = None
        if config.tokens != config.signals:
            noise = torch.randn(config.tokens, config.signals) * 0.02
            self.mixture = nn.Parameter(noise + 1 / config.signals)

    def forward(self, states: Tensor) -> Tensor:
        """``[n, signals, width_in]`` -> ``[n, tokens, width_out]``."""
        projected: Tensor = self.layers(states)
        return projected if self.mixture is None else self.mixture @ projected
