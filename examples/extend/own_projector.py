"""An input projector: neighbouring features are averaged, then projected by one linear layer.

    inlay train llava --import own_projector.py --projector pooled --projector_options '{"every": 2}'
    inlay evaluate runs/llava --import own_projector.py

It can be trained in any system and stored in a bundle; to read such a bundle, import this file first.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from inlay.adapters import register_projector
from inlay.adapters.parts.fields import PortSize, Size, check_fields


@dataclass(frozen=True, kw_only=True)
class PooledConfig:
    """Sizes."""

    width_in: PortSize = 0
    width_out: PortSize = 0
    every: Size = 4
    """Features that become one LLM position."""

    def __post_init__(self) -> None:
        check_fields(self)


class PooledProjector(nn.Module):
    """``[n, features, width_in]`` -> ``[n, ceil(features / every), width_out]``."""

    kind, reads_prompt = "pooled", False

    def __init__(self, config: PooledConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Linear(config.width_in, config.width_out)

    def tokens(self, features: int) -> int:
        """LLM positions for so many features."""
        return -(-features // self.config.every)

    def forward(self, features: Tensor) -> Tensor:
        """Average, then project."""
        pooled = F.avg_pool1d(features.transpose(1, 2), self.config.every, ceil_mode=True)
        projected: Tensor = self.layer(pooled.transpose(1, 2))
        return projected


register_projector(PooledProjector, PooledConfig)
