"""A Q-Former as output projector: learned queries attend to the signal tokens (NExT-GPT's second mode).

The same module as on the input side (:mod:`inlay.adapters.inputs.qformer`), with two layers by default. In each layer,
queries attend to each other and to the normalised states of the signal tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from inlay.adapters.inputs.qformer import QFormer, QFormerSizes
from inlay.adapters.outputs.fields import OutputSizes
from inlay.adapters.parts.fields import Depth, Epsilon, Heads, Rate, Size, check_heads, complete

__all__ = ["QFormerOutput", "QFormerOutputConfig"]


@dataclass(frozen=True, kw_only=True)
class QFormerOutputConfig(OutputSizes):
    """Sizes of the Q-Former and of the linear layer after it."""

    hidden: Size = 512
    """Width of the transformer, a multiple of ``heads``."""
    layers: Depth = 2
    """Transformer layers."""
    heads: Heads = 4
    """Attention heads."""
    ffn: Size = 2048
    """Hidden width of the feed-forward blocks."""
    cross_every: Depth = 1
    """Layers 0, ``cross_every``, 2 ``cross_every``, ... attend to the signal tokens."""
    dropout: Rate = 0.0
    """Dropout of hidden states and of attention."""
    norm_eps: Epsilon = 1e-5
    """Epsilon of the LayerNorm before the transformer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads(self.hidden, self.heads, "hidden")

    @property
    def sizes(self) -> QFormerSizes:
        """Sizes of the Q-Former itself."""
        return QFormerSizes(
            width_in=self.width_in,
            queries=self.tokens,
            hidden=self.hidden,
            layers=self.layers,
            heads=self.heads,
            ffn=self.ffn,
            cross_every=self.cross_every,
            dropout=self.dropout,
            norm_eps=self.norm_eps,
        )


class QFormerOutput(nn.Module):
    """``[n, signals, width_in]`` -> ``[n, tokens, width_out]``."""

    kind = "qformer"

    def __init__(self, config: QFormerOutputConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        self.qformer = QFormer(config.sizes)
        self.projection = nn.Linear(config.hidden, config.width_out)

    def forward(self, states: Tensor) -> Tensor:
        """``[n, signals, width_in]`` -> ``[n, tokens, width_out]``."""
        projected: Tensor = self.projection(self.qformer(states))
        return projected
