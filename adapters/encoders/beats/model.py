r"""BEATs (Chen et al., 2022, https://arxiv.org/abs/2212.09058): a transformer over patches of a spectrogram.

Patches of 16 frames x 16 bands become tokens in temporal order, a grouped convolution over 128 tokens adds positions,
and each layer is ``x <- LN(a x + A(x))``, ``x <- LN(a x + F(x))`` with DeepNorm's ``a = (2 layers)^(1/4)``.
A learned bias for the relative position, multiplied by a gate for each query and head, is added to the attention scores
(WavLM, https://arxiv.org/abs/2110.13900)::

    s_ij = q_i k_j / sqrt(d) + g_i r_|i-j|      g_i = u_i (v_i c - 1) + 2      u_i, v_i = sigmoid of sums of W q_i

Written from the papers and from the names and shapes in the released files, so that these load by name: module names
follow the tensor names. All layers share one table of relative positions, which a file stores once per layer.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inlay.adapters.encoders.beats.config import BeatsConfig

__all__ = ["Beats", "distance_bucket"]

_GATES = 8


def distance_bucket(distance: Tensor, buckets: int, max_distance: int) -> Tensor:
    """Bucket of a relative position: one each for small distances, logarithmic beyond (bidirectional, as in T5).

    Args:
        distance: integers, key position minus query position.
        buckets: number of buckets; the upper half is for keys after the query.
        max_distance: distances from here on share one bucket.

    Example:
        >>> distance_bucket(torch.tensor([-1, 0, 1, 7, 8, 100, 1000]), 32, 128).tolist()
        [1, 0, 17, 23, 24, 31, 31]
    """
    half = buckets // 2
    near = half // 2
    size = distance.abs()
    far = (size.clamp(min=1).float() / near).log() / math.log(max_distance / near) * (half - near)
    row = torch.where(size < near, size, (near + far.long()).clamp(max=half - 1))
    return row + (distance > 0) * half


class _Attention(nn.Module):
    def __init__(self, config: BeatsConfig, table: nn.Embedding) -> None:
        super().__init__()
        self.heads, self.head_width = config.heads, config.width // config.heads
        self.k_proj = nn.Linear(config.width, config.width)
        self.v_proj = nn.Linear(config.width, config.width)
        self.q_proj = nn.Linear(config.width, config.width)
        self.out_proj = nn.Linear(config.width, config.width)
        self.grep_linear = nn.Linear(self.head_width, _GATES)
        self.grep_a = nn.Parameter(torch.ones(1, config.heads, 1, 1))
        self.relative_attention_bias = table

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """``[n, T, width]`` and the bucket of each pair ``[T, T]`` -> ``[n, T, width]``."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        bias = self.gate(query) * self.relative_attention_bias(rows).permute(2, 0, 1)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return cast(Tensor, self.out_proj(found.transpose(1, 2).flatten(2)))

    def gate(self, query: Tensor) -> Tensor:
        """``[n, heads, T, head_width]`` -> ``[n, heads, T, 1]``."""
        sums = self.grep_linear(query).unflatten(-1, (2, _GATES // 2)).sum(dim=-1)
        first, second = torch.sigmoid(sums).chunk(2, dim=-1)
        return first * (second * self.grep_a - 1.0) + 2.0


class _Layer(nn.Module):
    def __init__(self, config: BeatsConfig, table: nn.Embedding) -> None:
        super().__init__()
        self.residual = (2 * config.layers) ** 0.25
        self.self_attn = _Attention(config, table)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.ffn)
        self.fc2 = nn.Linear(config.ffn, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        x = self.self_attn_layer_norm(self.residual * x + self.self_attn(x, rows))
        return cast(Tensor, self.final_layer_norm(self.residual * x + self.fc2(F.gelu(self.fc1(x)))))


class _PositionConvolution(nn.Module):
    """A grouped convolution with weight normalisation over all but the kernel dimension."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.kernel, self.groups = config.position_kernel, config.position_groups
        shape = (config.width, config.width // self.groups, self.kernel)
        self.bias = nn.Parameter(torch.zeros(config.width))
        self.weight_v = nn.Parameter(torch.randn(shape) * math.sqrt(4.0 / (self.kernel * config.width)))
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=(0, 1), keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, width, T]`` -> ``[n, width, T]``."""
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        found = F.conv1d(x, weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        # A kernel of even size gives one position too many, at the end.
        return found[..., : x.shape[-1]]


class _Transformer(nn.Module):
    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.buckets, self.max_distance = config.buckets, config.max_distance
        self.pos_conv = nn.Sequential(_PositionConvolution(config), nn.GELU())
        table = nn.Embedding(config.buckets, config.heads)
        self.layers = nn.ModuleList(_Layer(config, table) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_norm(x + self.pos_conv(x.transpose(1, 2)).transpose(1, 2))
        places = torch.arange(x.shape[1], device=x.device)
        rows = distance_bucket(places[None, :] - places[:, None], self.buckets, self.max_distance)
        for layer in self.layers:
            x = layer(x, rows)
        return x


class Beats(nn.Module):
    """The model. Backbones take it as a :class:`BeatsEncoder`.

    Args:
        config: sizes.
    """

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv2d(1, config.patch_width, config.patch, stride=config.patch, bias=False)
        self.layer_norm = nn.LayerNorm(config.patch_width)
        projected = config.patch_width != config.width
        self.post_extract_proj = nn.Linear(config.patch_width, config.width) if projected else None
        self.encoder = _Transformer(config)
        self.predictor = nn.Linear(config.width, config.classes) if config.classes else None

    def forward(self, mel: Tensor) -> Tensor:
        """Normalised log-mel values ``[n, frames, bands]`` -> ``[n, tokens, width]``, ordered by time, then band."""
        tokens = self.layer_norm(self.patch_embedding(mel[:, None]).flatten(2).transpose(1, 2))
        if self.post_extract_proj is not None:
            tokens = self.post_extract_proj(tokens)
        return cast(Tensor, self.encoder(tokens))
