"""NExT-GPT's output projector: a small transformer (Wu et al., 2023, https://arxiv.org/abs/2309.05519).

A linear layer projects the states of the signal tokens to 512 values, an encoder of 4 layers processes them, a decoder
of 4 layers attends to the result from learned queries, one for each vector of the conditioning, and a last linear layer
projects to the generator's width. Pre-norm, 4 heads, feed-forward blocks of 2048, ReLU.

With an LLM of 4096 that is 31,958,784 parameters for Stable Diffusion 1.5 (77 queries, 768 wide), 32,090,112 for a
generator of 77 x 1024 and 31,788,544 for AudioLDM (1 query, 512 wide).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inlay.adapters.outputs.fields import OutputSizes
from inlay.adapters.parts.fields import Depth, Heads, Rate, Size, check_heads, complete

__all__ = ["TransformerOutput", "TransformerOutputConfig"]


@dataclass(frozen=True, kw_only=True)
class TransformerOutputConfig(OutputSizes):
    """Sizes of the transformer."""

    hidden: Size = 512
    """Width of the transformer, a multiple of ``heads``."""
    encoder_layers: Depth = 4
    """Layers of the encoder, which processes the signal tokens."""
    decoder_layers: Depth = 4
    """Layers of the decoder, in which the queries attend to the encoder's output."""
    heads: Heads = 4
    """Attention heads."""
    ffn: Size = 2048
    """Hidden width of the feed-forward blocks."""
    dropout: Rate = 0.0
    """Dropout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads(self.hidden, self.heads, "hidden")


class TransformerOutput(nn.Module):
    """``[n, signals, width_in]`` -> ``[n, tokens, width_out]``.

    Example:
        >>> with torch.device("meta"):
        ...     sizes = TransformerOutputConfig(width_in=4096, signals=4, tokens=77, width_out=768)
        ...     projector = TransformerOutput(sizes)
        >>> sum(p.numel() for p in projector.parameters())
        31958784
    """

    kind = "transformer"

    def __init__(self, config: TransformerOutputConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        self.project_in = nn.Linear(config.width_in, config.hidden)
        self.queries = nn.Parameter(torch.randn(1, config.tokens, config.hidden) * 0.02)
        sizes: dict[str, Any] = {"nhead": config.heads, "dim_feedforward": config.ffn, "dropout": config.dropout}
        layer = nn.TransformerEncoderLayer(config.hidden, **sizes, batch_first=True, norm_first=True)
        # Nested tensors are for padded batches. Signal tokens are never padded, and torch warns about pre-norm.
        encoder = nn.TransformerEncoder(
            layer, config.encoder_layers, nn.LayerNorm(config.hidden), enable_nested_tensor=False
        )
        self.transformer = nn.Transformer(
            config.hidden,
            num_decoder_layers=config.decoder_layers,
            **sizes,
            custom_encoder=encoder,
            batch_first=True,
            norm_first=True,
        )
        self.project_out = nn.Linear(config.hidden, config.width_out)

    def forward(self, states: Tensor) -> Tensor:
        """``[n, signals, width_in]`` -> ``[n, tokens, width_out]``."""
        queries = self.queries.expand(len(states), -1, -1)
        projected: Tensor = self.project_out(self.transformer(self.project_in(states), queries))
        return projected
