r"""C-Former, the speech interface of X-LLM (Chen et al., 2023, https://arxiv.org/abs/2305.04160).

Speech has far more frames than words. Continuous integrate-and-fire (Dong and Xu, 2020,
https://arxiv.org/abs/1905.11235) adds frames up until their weights sum to one, and then emits a vector::

    a_t = sigmoid(v relu(conv(x))_t + b)          the weight of frame t, in words
    A_t = a_1 + ... + a_t
    c_u = sum_t w_ut x_t,   w_ut = max(0, min(A_t, u + 1) - max(A_{t-1}, u))     u = 0, 1, ...

so a frame in which the sum passes a whole number is divided between two vectors. ``w`` is computed without a loop over
time. As in CIF's training, the weights are scaled to sum to a given length, here ``queries``, because an LLM's sequence
is laid out before the features are computed. A linear layer with ReLU, learned positions, a transformer
of BERT's size (12 layers of 768) and a linear layer to the LLM follow. X-LLM initialises it with a Chinese BERT and
adds one more ReLU at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inlay.adapters.parts.fields import (
    Depth,
    Epsilon,
    Heads,
    PortSize,
    Queries,
    Rate,
    Size,
    check_fields,
    check_heads,
    complete,
)

__all__ = ["CFormerConfig", "CFormerProjector", "Ending", "integrate_and_fire"]

Ending: TypeAlias = Literal["none", "relu"]


@dataclass(frozen=True, kw_only=True)
class CFormerConfig:
    """Sizes of the down-sampler and of the transformer."""

    width_in: PortSize = 0
    """Values per feature."""
    width_out: PortSize = 0
    """Values per LLM embedding."""
    queries: Queries = 32
    """Vectors that are emitted, and so the number of LLM positions."""
    kernel: Queries = 3
    """Frames from which the weight of a frame is computed; odd."""
    hidden: Size = 768
    """Width of the transformer."""
    layers: Depth = 12
    """Transformer layers."""
    heads: Heads = 12
    """Attention heads."""
    ffn: Size = 3072
    """Width of the feed-forward block."""
    dropout: Rate = 0.1
    """Dropout in the transformer."""
    norm_eps: Epsilon = 1e-12
    """Epsilon of every LayerNorm; the default is BERT's."""
    ending: Ending = "none"
    """Activation after the last linear layer; ``relu`` in X-LLM."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_heads(self.hidden, self.heads, "hidden")
        check_heads(self.kernel + 1, 2, "kernel + 1")


def integrate_and_fire(features: Tensor, weights: Tensor, length: int) -> Tensor:
    """Sum frames into vectors whose weights are one each.

    Args:
        features: ``[n, T, width]``.
        weights: ``[n, T]``, not negative.
        length: number of vectors. Where the weights sum to less, the last vectors are incomplete or zero; weights
            beyond are ignored.

    Returns:
        ``[n, length, width]``.

    Example:
        >>> frames = torch.tensor([[[1.0], [10.0], [100.0]]])
        >>> integrate_and_fire(frames, torch.tensor([[0.5, 1.0, 0.5]]), 2).flatten().tolist()
        [5.5, 55.0]
    """
    after = weights.cumsum(dim=1)[:, None]
    before = F.pad(after, (1, 0))[..., :-1]
    fired = torch.arange(length, device=weights.device, dtype=weights.dtype)[:, None]
    shares = (torch.minimum(after, fired + 1) - torch.maximum(before, fired)).clamp(min=0)
    return shares @ features


class CFormerProjector(nn.Module):
    """``[n, features, width_in]`` -> ``[n, queries, width_out]``.

    Features that are all zero are padding, which encoders append to a short sound; their weight is 0.

    Example:
        >>> config = CFormerConfig(width_in=8, width_out=6, queries=3, hidden=8, layers=1, heads=2, ffn=8)
        >>> CFormerProjector(config)(torch.randn(2, 50, 8)).shape
        torch.Size([2, 3, 6])
    """

    kind = "cformer"
    reads_prompt = False

    def __init__(self, config: CFormerConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        self.neighbours = nn.Conv1d(config.width_in, config.width_in, config.kernel, padding=config.kernel // 2)
        self.weight = nn.Linear(config.width_in, 1)
        self.entrance = nn.Linear(config.width_in, config.hidden)
        self.positions = nn.Parameter(torch.randn(config.queries, config.hidden) * 0.02)
        self.norm = nn.LayerNorm(config.hidden, eps=config.norm_eps)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.hidden,
                config.heads,
                config.ffn,
                config.dropout,
                activation="gelu",
                layer_norm_eps=config.norm_eps,
                batch_first=True,
            )
            for _ in range(config.layers)
        )
        self.projection = nn.Linear(config.hidden, config.width_out)

    def tokens(self, features: int) -> int:
        """The number of LLM positions: ``queries``, for any number of features."""
        return self.config.queries

    def weights(self, features: Tensor) -> Tensor:
        """The weight of each frame: ``[n, T, width_in]`` -> ``[n, T]``, which sum to ``queries``."""
        is_frame = features.ne(0).any(dim=-1)
        around = F.relu(self.neighbours(features.transpose(1, 2))).transpose(1, 2)
        weights = torch.sigmoid(self.weight(around).squeeze(-1)) * is_frame
        total = weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return weights * (self.config.queries / total)

    def forward(self, features: Tensor) -> Tensor:
        """``[n, features, width_in]`` -> ``[n, queries, width_out]``."""
        # In 16 bits, cumulative sums of many small weights are wrong by whole vectors.
        weights = self.weights(features).float()
        fired = integrate_and_fire(features.float(), weights, self.config.queries).to(features.dtype)
        states = self.norm(F.relu(self.entrance(fired)) + self.positions)
        for layer in self.layers:
            states = layer(states)
        projected: Tensor = self.projection(states)
        return F.relu(projected) if self.config.ending == "relu" else projected
