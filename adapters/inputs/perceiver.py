"""Flamingo's perceiver resampler (Alayrac et al., 2022, https://arxiv.org/abs/2204.14198).

Learned latents ``h`` attend to the features ``x`` in each of ``depth`` blocks::

    h <- h + A(LN(h), [LN(x); LN(h)])        keys and values are features and latents
    h <- h + V act(U LN(h))                  feed-forward block of four times the width

These linear layers have no bias. A LayerNorm and a linear layer to the width of the LLM follow. Flamingo has 64
latents, 6 blocks, 16 heads of 96 and the squared ReLU; Idefics, its open reproduction, has the plain ReLU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inlay.adapters.parts.fields import Depth, Heads, PortSize, Queries, check_fields, complete

__all__ = ["Activation", "PerceiverConfig", "PerceiverProjector"]

Activation: TypeAlias = Literal["squared_relu", "relu", "gelu"]

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "squared_relu": lambda x: F.relu(x).square(),
    "relu": F.relu,
    "gelu": F.gelu,
}


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig:
    """Sizes of the resampler, which is as wide as the features."""

    width_in: PortSize = 0
    """Values per feature."""
    width_out: PortSize = 0
    """Values per LLM embedding."""
    latents: Queries = 64
    """Learned vectors, and so the number of LLM positions."""
    depth: Depth = 6
    """Blocks of attention and feed-forward."""
    heads: Heads = 16
    """Attention heads."""
    head_width: Queries = 96
    """Values per head; any number, since the output is projected back to ``width_in``."""
    widening: Heads = 4
    """Hidden width of the feed-forward block, as a multiple of ``width_in``."""
    activation: Activation = "squared_relu"
    """Activation of the feed-forward block."""

    def __post_init__(self) -> None:
        check_fields(self)


class PerceiverBlock(nn.Module):
    """Attention and feed-forward block of the resampler."""

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        width, inner = config.width_in, config.heads * config.head_width
        self.heads, self.act = config.heads, _ACTIVATIONS[config.activation]
        self.norm_features = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.output = nn.Linear(inner, width, bias=False)
        self.norm_ffn = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * config.widening, bias=False)
        self.down = nn.Linear(width * config.widening, width, bias=False)

    def forward(self, features: Tensor, latents: Tensor) -> Tensor:
        """``[n, features, width]``, ``[n, latents, width]`` -> ``[n, latents, width]``."""
        normed = self.norm_latents(latents)
        context = torch.cat([self.norm_features(features), normed], dim=1)
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, normed), (self.key, context), (self.value, context))
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        latents = latents + self.output(attended.transpose(1, 2).flatten(2))
        update: Tensor = self.down(self.act(self.up(self.norm_ffn(latents))))
        return latents + update


class PerceiverProjector(nn.Module):
    """``[n, features, width_in]`` -> ``[n, latents, width_out]``.

    Example:
        >>> projector = PerceiverProjector(PerceiverConfig(width_in=8, width_out=6, latents=3, depth=1))
        >>> projector(torch.zeros(2, 50, 8)).shape
        torch.Size([2, 3, 6])
    """

    kind = "perceiver"
    reads_prompt = False

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        self.latents = nn.Parameter(torch.randn(config.latents, config.width_in))
        self.blocks = nn.ModuleList(PerceiverBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width_in)
        self.projection = nn.Linear(config.width_in, config.width_out)

    def tokens(self, features: int) -> int:
        """The number of LLM positions: one for each latent, for any number of features."""
        return self.config.latents

    def resample(self, features: Tensor) -> Tensor:
        """The latents before the last linear layer: ``[n, features, width_in]`` -> ``[n, latents, width_in]``."""
        latents = self.latents.expand(len(features), -1, -1)
        for block in self.blocks:
            latents = block(features, latents)
        normed: Tensor = self.norm(latents)
        return normed

    def forward(self, features: Tensor) -> Tensor:
        """``[n, features, width_in]`` -> ``[n, latents, width_out]``."""
        projected: Tensor = self.projection(self.resample(features))
        return projected
