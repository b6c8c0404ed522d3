r"""C-Former, the speech interface of X-LLM (Chen et al., 2023, https://arxiv.org/abs/2305.04160).

Speech has far more frames than words. Continuous integrate-and-fire (Dong and Xu, 2020,
https://arxiv.org/abs/1905.11235) gathers frames until they weigh one, and fires a vector::

    a_t = sigmoid(v relu(conv(x))_t + b)          how much of a word frame t is
    A_t = a_1 + ... + a_t
    c_u = sum_t w_ut x_t,   w_ut = max(0, min(A_t, u + 1) - max(A_{t-1}, u))     u = 0, 1, ...

so a frame in which the sum passes a whole number is divided between two vectors. ``w`` is the whole of it: no loop over
time. As in CIF's training, the weights are scaled such that they sum to a given length, here ``queries``, because an
LLM's sequence is laid out before features are seen. A linear layer with ReLU, learned positions, a transformer as large
as BERT's (12 layers of 768) and a linear layer to the LLM follow. X-LLM starts it from a Chinese BERT and ends it with
one more ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inlay.adapters.parts.fields import Depth, Epsilon, Heads, Queries, Rate, Size, check_fields, check_heads

__all__ = ["CFormerConfig", "CFormerProjector", "Ending", "integrate_and_fire"]

Ending: TypeAlias = Literal["none", "relu"]


@dataclass(frozen=True, kw_only=True)
class CFormerConfig:
    """Sizes of the down-sampler and of the transformer."""

    width_in: Size
    """Values per feature."""
    width_out: Size
    """Values per LLM embedding."""
    queries: Queries = 32
    """Vectors that are fired; also the LLM positions."""
    kernel: Queries = 3
    """Frames that the weight of a frame is decided from; odd."""
    hidden: Size = 768
    """Width of the transformer."""
    layers: Depth = 12
    """Transformer layers."""
    heads: Heads = 12
    """Attention heads."""
    ffn: Size = 3072
    """Width of the feed-forward block."""
    dropout: Rate = 0.1
    """In the transformer."""
    norm_eps: Epsilon = 1e-12
    """Of every LayerNorm; BERT's."""
    ending: Ending = "none"
    """After the last linear layer; ``relu`` as in X-LLM."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_heads(self.hidden, self.heads, "hidden")
        check_heads(self.kernel + 1, 2, "kernel + 1")


def integrate_and_fire(features: Tensor, weights: Tensor, length: int) -> Tensor:
    """Gather frames until they weigh one, again and again.

    Args:
        features: ``[n, T, width]``.
        weights: ``[n, T]``, none negative.
        length: vectors that are given; what the weights do not fill stays short or zero, what is beyond is left out.

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

    Features that are zero throughout are no frames: encoders fill the place behind a short sound with them.

    Example:
        >>> config = CFormerConfig(width_in=8, width_out=6, queries=3, hidden=8, layers=1, heads=2, ffn=8)
        >>> CFormerProjector(config)(torch.randn(2, 50, 8)).shape
        torch.Size([2, 3, 6])
    """

    kind = "cformer"
    reads_prompt = False

    def __init__(self, config: CFormerConfig) -> None:
        super().__init__()
        self.config = config
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
        """LLM positions for so many features: the queries, whatever the number."""
        return self.config.queries

    def weights(self, features: Tensor) -> Tensor:
        """How much of a vector each frame is: ``[n, T, width_in]`` -> ``[n, T]``, together ``queries``."""
        heard = features.ne(0).any(dim=-1)
        around = F.relu(self.neighbours(features.transpose(1, 2))).transpose(1, 2)
        weights = torch.sigmoid(self.weight(around).squeeze(-1)) * heard
        total = weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return weights * (self.config.queries / total)

    def forward(self, features: Tensor) -> Tensor:
        """``[n, features, width_in]`` -> ``[n, queries, width_out]``."""
        # Sums of many small weights: in 16 bit they would drift by whole vectors.
        weights = self.weights(features).float()
        fired = integrate_and_fire(features.float(), weights, self.config.queries).to(features.dtype)
        states = self.norm(F.relu(self.entrance(fired)) + self.positions)
        for layer in self.layers:
            states = layer(states)
        projected: Tensor = self.projection(states)
        return F.relu(projected) if self.config.ending == "relu" else projected
