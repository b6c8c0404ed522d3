"""Average pooling of squares of features, then linear layers.

Fewer positions without wider layers, as DeCo (Yao et al., 2024, https://arxiv.org/abs/2405.20985) and PLLaVA
(Xu et al., 2024, https://arxiv.org/abs/2404.16994) have it. Gemma 3 pools in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from inlay.adapters.inputs.grid import check_grid, squares_of
from inlay.adapters.inputs.mlp import MlpConfig, MlpProjector
from inlay.adapters.inputs.pixel_shuffle import Factor, Rows
from inlay.adapters.parts.fields import Depth, PortSize, check_fields, complete

__all__ = ["AvgPoolConfig", "AvgPoolProjector"]


@dataclass(frozen=True, kw_only=True)
class AvgPoolConfig:
    """Side of the squares and sizes of the layers."""

    width_in: PortSize = 0
    """Values per feature."""
    width_out: PortSize = 0
    """Values per LLM embedding; also the hidden width."""
    factor: Factor = 2
    """Side of a square, whose features are averaged."""
    depth: Depth = 2
    """Linear layers, with GELU between them."""
    rows: Rows = 0
    """Rows of the grid; 0 for a square grid."""
    class_token: bool = False
    """Whether the first feature is a class token, which is dropped."""

    def __post_init__(self) -> None:
        check_fields(self)


class AvgPoolProjector(nn.Module):
    """``[n, features, width_in]`` -> ``[n, features / factor ** 2, width_out]``.

    Example:
        >>> AvgPoolProjector(AvgPoolConfig(width_in=8, width_out=6, factor=2)).tokens(576)
        144
    """

    kind = "avg_pool"
    reads_prompt = False

    def __init__(self, config: AvgPoolConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        sizes = MlpConfig(width_in=config.width_in, width_out=config.width_out, depth=config.depth)
        self.layers = MlpProjector(sizes).layers

    def tokens(self, features: int) -> int:
        """The number of LLM positions: one for each square.

        Raises:
            ProjectorError: the features form no grid that ``factor`` divides.
        """
        high, wide = check_grid(
            features, self.config.factor, rows=self.config.rows, class_token=self.config.class_token
        )
        return high * wide

    def forward(self, features: Tensor) -> Tensor:
        """``[n, features, width_in]`` -> ``[n, tokens, width_out]``."""
        squares = squares_of(features, self.config.factor, rows=self.config.rows, class_token=self.config.class_token)
        projected: Tensor = self.layers(squares.mean(dim=2))
        return projected
