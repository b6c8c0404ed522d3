"""Qwen-VL's resampler: one cross-attention with 2-D positions (Bai et al., 2023, https://arxiv.org/abs/2308.12966).

``y = P LN(A(LN(q) + p, LN(K x) + p', LN(K x)))``: learned queries ``q`` on a square grid attend to the features
``x``. ``p`` are fixed sines and cosines of the queries' positions on the grid, ``p'`` is the same table resampled to
the grid of the features, so that queries and features share one system of coordinates. Qwen-VL has 256 queries,
features of 1664 and heads of 128.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inlay.adapters.inputs.protocol import ProjectorError
from inlay.adapters.parts.fields import (
    ConfigError,
    Epsilon,
    PortSize,
    Queries,
    check_fields,
    check_heads,
    complete,
)

__all__ = ["CrossAttentionConfig", "CrossAttentionProjector", "grid_positions", "resample_positions"]


@dataclass(frozen=True, kw_only=True)
class CrossAttentionConfig:
    """Sizes of the resampler, which is as wide as the LLM."""

    width_in: PortSize = 0
    """Values per feature."""
    width_out: PortSize = 0
    """Values per LLM embedding, a multiple of 4 (sine and cosine, for row and column)."""
    queries: Queries = 256
    """Learned queries, a square number, and so the number of LLM positions."""
    head_width: Queries = 128
    """Values per head; there is one head if ``width_out`` is below twice this number."""
    class_token: bool = False
    """Whether the first feature is a class token, which has no position on the grid and is dropped."""
    norm_eps: Epsilon = 1e-6
    """Epsilon of the LayerNorms."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_heads(self.width_out, self.heads, "width_out")
        if self.width_out % 4:
            raise ConfigError(f"width_out: expected a multiple of 4, got {self.width_out}")
        if math.isqrt(self.queries) ** 2 != self.queries:
            raise ConfigError(f"queries: expected a square number, got {self.queries}")

    @property
    def heads(self) -> int:
        """Attention heads."""
        return max(1, self.width_out // self.head_width)


def grid_positions(side: int, width: int) -> Tensor:
    """Sines and cosines of the positions on a square grid, in reading order: ``[side * side, width]``.

    The first half of each vector encodes the column, the second half the row; each half is ``sin(i w)`` then
    ``cos(i w)`` for frequencies ``w`` that fall from 1 to 1/10000.

    Example:
        >>> grid_positions(2, 4)[1].tolist() == [math.sin(1), math.cos(1), 0.0, 1.0]
        True
    """
    frequencies = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = line.expand(side, -1, -1)
    return torch.cat([columns, columns.transpose(0, 1)], dim=-1).flatten(0, 1)


def resample_positions(positions: Tensor, count: int) -> Tensor:
    """Resample a square table of positions to a finer or coarser grid, bicubically.

    Args:
        positions: ``[side * side, width]``.
        count: positions on the new grid, a square number.

    Returns:
        ``[count, width]``.
    """
    if len(positions) == count:
        return positions
    side, new = math.isqrt(len(positions)), math.isqrt(count)
    table = positions.float().T.reshape(1, -1, side, side)
    resized = F.interpolate(table, size=(new, new), mode="bicubic", align_corners=False)
    return resized.flatten(2)[0].T.to(positions.dtype)


class CrossAttentionProjector(nn.Module):
    """``[n, features, width_in]`` -> ``[n, queries, width_out]``.

    Example:
        >>> projector = CrossAttentionProjector(CrossAttentionConfig(width_in=6, width_out=8, queries=4))
        >>> projector(torch.zeros(2, 49, 6)).shape
        torch.Size([2, 4, 8])
    """

    kind = "cross_attention"
    reads_prompt = False
    positions: Tensor

    def __init__(self, config: CrossAttentionConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        width = config.width_out
        table = grid_positions(math.isqrt(config.queries), width)
        # A formula gives it, so it is not stored in bundles.
        self.register_buffer("positions", table.to(torch.get_default_dtype()), persistent=False)
        self.queries = nn.Parameter(torch.nn.init.trunc_normal_(torch.empty(config.queries, width), std=0.02))
        self.enter = nn.Linear(config.width_in, width, bias=False)
        self.norm_queries = nn.LayerNorm(width, eps=config.norm_eps)
        self.norm_features = nn.LayerNorm(width, eps=config.norm_eps)
        self.attention = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.norm_output = nn.LayerNorm(width, eps=config.norm_eps)
        self.projection = nn.Linear(width, width, bias=False)

    def tokens(self, features: int) -> int:
        """The number of LLM positions: one for each query.

        Raises:
            ProjectorError: the number of patches is not a square number.
        """
        patches = features - self.config.class_token
        if math.isqrt(max(patches, 0)) ** 2 != patches:
            raise ProjectorError(
                f"expected a square number of patches, got {patches} of {features} features; does class_token = "
                f"{self.config.class_token} agree with the encoder?"
            )
        return self.config.queries

    def forward(self, features: Tensor) -> Tensor:
        """``[n, features, width_in]`` -> ``[n, queries, width_out]``."""
        self.tokens(features.shape[1])
        values = self.norm_features(self.enter(features[:, int(self.config.class_token) :]))
        keys = values + resample_positions(self.positions, values.shape[1])
        queries = (self.norm_queries(self.queries) + self.positions).expand(len(features), -1, -1)
        attended, _ = self.attention(queries, keys, values, need_weights=False)
        projected: Tensor = self.projection(self.norm_output(attended))
        return projected
