"""BLIP-2's Q-Former as an input projector (Li et al., 2023, https://arxiv.org/abs/2301.12597), in stage-2 wiring.

``y = W Q(q, LN(x)) + b``: learned queries ``q`` attend to each other in every layer and to the normalised features in
every second one; a linear layer projects the result to the width of the LLM. For any number of features, the LLM gets
one position per query.

``LN`` is the model's ``ln_vision`` (in transformers it is the vision model's ``post_layernorm``). It follows a frozen
encoder, but it is trained, so it belongs to the projector. Its epsilon is 1e-5 in weights from LAVIS and 1e-6 in
weights from transformers.

With a ViT-g of 1408, 12 layers of 768 and 32 queries: 105,137,664 parameters in the transformer, 24,576 in the queries,
2,816 in ``ln_vision``, and 769 times the LLM's width in the linear layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from inlay.adapters.inputs.protocol import ProjectorError
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

__all__ = ["QFormer", "QFormerConfig", "QFormerProjector", "QFormerSizes", "new_queries", "padding_mask"]


@dataclass(frozen=True, kw_only=True)
class QFormerSizes:
    """Sizes of any Q-Former. A bundle stores settings flat, so configurations extend this class."""

    width_in: PortSize = 0
    """Values per feature."""
    queries: Queries = 32
    """Learned query tokens, and so the number of output vectors."""
    hidden: Size = 768
    """Width of the transformer, a multiple of ``heads``."""
    layers: Depth = 12
    """Transformer layers."""
    heads: Heads = 12
    """Attention heads."""
    ffn: Size = 3072
    """Hidden width of the feed-forward blocks."""
    cross_every: Depth = 2
    """Layers 0, ``cross_every``, 2 ``cross_every``, ... attend to the features."""
    dropout: Rate = 0.1
    """Dropout of hidden states and of attention."""
    norm_eps: Epsilon = 1e-5
    """Epsilon of ``ln_vision``."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_heads(self.hidden, self.heads, "hidden")

    @property
    def transformer(self) -> dict[str, Any]:
        """These sizes as arguments of transformers' ``Blip2QFormerConfig``."""
        return {
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.ffn,
            "cross_attention_frequency": self.cross_every,
            "encoder_hidden_size": self.width_in,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
            # BERT's 0.02 suits a width of 768; in a narrow model it keeps attention nearly uniform for a long time.
            "initializer_range": 0.02 * (768 / self.hidden) ** 0.5,
        }


@dataclass(frozen=True, kw_only=True)
class QFormerConfig(QFormerSizes):
    """Sizes of a Q-Former and of the linear layer after it."""

    width_out: PortSize = 0
    """Values per LLM embedding."""


def new_queries(sizes: QFormerSizes) -> nn.Parameter:
    """Query tokens ``[1, queries, hidden]``, drawn from a normal distribution of deviation 0.02."""
    return nn.Parameter(torch.randn(1, sizes.queries, sizes.hidden) * 0.02)


def padding_mask(mask: Tensor) -> Tensor:
    """``[n, L]``, 1 where there is a token -> ``[n, 1, 1, L]`` bool, which each attention head broadcasts.

    transformers reads the values of a two-dimensional mask, and so the host waits for the GPU in every step; a mask
    with four dimensions is used as it is.
    """
    return mask[:, None, None].bool()


class QFormer(nn.Module):
    """``ln_vision``, query tokens and transformer: ``[n, features, width_in]`` -> ``[n, queries, hidden]``."""

    def __init__(self, sizes: QFormerSizes) -> None:
        super().__init__()
        sizes = complete(sizes)
        self.ln_vision = nn.LayerNorm(sizes.width_in, eps=sizes.norm_eps)
        self.query_tokens = new_queries(sizes)
        self.model = Blip2QFormerModel(Blip2QFormerConfig(**sizes.transformer))

    @classmethod
    def from_blip2(cls, model: Any, *, norm_eps: float | None = None) -> QFormer:
        """A copy of the Q-Former of a BLIP-2 model of transformers.

        Args:
            model: any of its classes with ``vision_model``, ``query_tokens`` and ``qformer``.
            norm_eps: epsilon of ``ln_vision``; the model's own if not given.

        Raises:
            ProjectorError: a Q-Former with another activation or epsilon than BERT's, or with text layers.
        """
        config, norm = model.qformer.config, model.vision_model.post_layernorm
        for name, expected in {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "use_qformer_text_input": False}.items():
            if getattr(config, name) != expected:
                raise ProjectorError(f"{name} of this Q-Former: expected {expected}, got {getattr(config, name)}")
        sizes = QFormerSizes(
            width_in=config.encoder_hidden_size,
            queries=model.query_tokens.shape[1],
            hidden=config.hidden_size,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            ffn=config.intermediate_size,
            cross_every=config.cross_attention_frequency,
            dropout=config.hidden_dropout_prob,
            norm_eps=norm.eps if norm_eps is None else norm_eps,
        )
        built = cls(sizes)
        built.ln_vision.load_state_dict(norm.state_dict())
        built.model.load_state_dict(model.qformer.state_dict())
        with torch.no_grad():
            built.query_tokens.copy_(model.query_tokens)
        return built

    def forward(self, features: Tensor) -> Tensor:
        """``[n, features, width_in]`` -> ``[n, queries, hidden]``."""
        if not len(features):
            # transformers cannot reshape an empty batch. One row, removed again, keeps the parameters in the graph.
            return self.forward(features.new_zeros(1, *features.shape[1:]))[:0]
        states: Tensor = self.model(
            query_embeds=self.query_tokens.expand(len(features), -1, -1),
            encoder_hidden_states=self.ln_vision(features),
        ).last_hidden_state
        return states


class QFormerProjector(nn.Module):
    """``[n, features, width_in]`` -> ``[n, queries, width_out]``.

    Example:
        >>> with torch.device("meta"):
        ...     projector = QFormerProjector(QFormerConfig(width_in=1408, width_out=2560))
        >>> sum(p.numel() for p in projector.parameters())
        107133696
    """

    kind = "qformer"
    reads_prompt = False

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        self.qformer = QFormer(config)
        self.projection = nn.Linear(config.hidden, config.width_out)

    def tokens(self, features: int) -> int:
        """The number of LLM positions: one for each query, for any number of features."""
        return self.config.queries

    def forward(self, features: Tensor) -> Tensor:
        """``[n, features, width_in]`` -> ``[n, queries, width_out]``."""
        projected: Tensor = self.projection(self.qformer(features))
        return projected
