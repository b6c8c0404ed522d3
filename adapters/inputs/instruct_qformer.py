"""InstructBLIP's Q-Former, which also reads the instruction (Dai et al., 2023, https://arxiv.org/abs/2305.06500).

``y = W Q([q; e(t)], LN(x))[:queries] + b``: the queries of BLIP-2 and the instruction's tokens ``t`` share the
self-attention of every layer, so that the queries' output depends on the instruction. Only queries attend to the
features, text has a feed-forward block of its own, and only the outputs of the queries go to the LLM.

The instruction is tokenised with BERT's tokenizer plus ``[DEC]`` (30,523 entries) and cut on the left to 128 tokens by
the caller: ``prompt_ids`` and ``prompt_mask`` come with the features, one row for each medium.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import InstructBlipQFormerConfig, InstructBlipQFormerModel

from inlay.adapters.inputs.protocol import ProjectorError
from inlay.adapters.inputs.qformer import QFormerConfig, new_queries, padding_mask
from inlay.adapters.parts.fields import ConfigError, Queries, Size, complete

__all__ = ["InstructQFormerConfig", "InstructQFormerProjector"]


@dataclass(frozen=True, kw_only=True)
class InstructQFormerConfig(QFormerConfig):
    """Sizes of a Q-Former with a text branch."""

    vocabulary: Size = 30523
    """Entries of the tokenizer that gives ``prompt_ids``."""
    text_positions: Queries = 512
    """Rows of the position table, and so the maximum length of a prompt."""
    prompt_tokens: Queries = 128
    """Tokens that the caller keeps of a prompt, the last ones; at most ``text_positions``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt_tokens > self.text_positions:
            raise ConfigError(
                f"prompt_tokens: expected at most text_positions = {self.text_positions}, got {self.prompt_tokens}"
            )


class InstructQFormerProjector(nn.Module):
    """``[n, features, width_in]`` and ``[n, L]`` token ids -> ``[n, queries, width_out]``.

    Example:
        >>> with torch.device("meta"):
        ...     projector = InstructQFormerProjector(InstructQFormerConfig(width_in=1408, width_out=4096))
        >>> sum(p.numel() for p in projector.parameters())
        188837376
    """

    kind = "instruct_qformer"
    reads_prompt = True

    def __init__(self, config: InstructQFormerConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        self.ln_vision = nn.LayerNorm(config.width_in, eps=config.norm_eps)
        self.query_tokens = new_queries(config)
        self.model = InstructBlipQFormerModel(
            InstructBlipQFormerConfig(
                **config.transformer,
                vocab_size=config.vocabulary,
                max_position_embeddings=config.text_positions,
            )
        )
        self.projection = nn.Linear(config.hidden, config.width_out)

    @property
    def without_gradient(self) -> frozenset[str]:
        """Parameters that the output does not depend on: the text's feed-forward block of the last layer.

        The published model has them. They never get a gradient, which would be an error for any other parameter.
        """
        last = f"model.encoder.layer.{self.config.layers - 1}."
        dead = (f"{last}intermediate.", f"{last}output.")
        return frozenset(name for name, _ in self.named_parameters() if name.startswith(dead))

    def tokens(self, features: int) -> int:
        """The number of LLM positions: one for each query, for any number of features."""
        return self.config.queries

    def forward(self, features: Tensor, prompt_ids: Tensor, prompt_mask: Tensor) -> Tensor:
        """Project features under a prompt.

        Args:
            features: ``[n, features, width_in]``.
            prompt_ids: ``[n, L]``, the prompt of each medium, padded on the right.
            prompt_mask: ``[n, L]``, 1 where there is a token.

        Returns:
            ``[n, queries, width_out]``.

        Raises:
            ProjectorError: the number of prompts differs from the number of media, or a prompt is too long.
        """
        self._check(features, prompt_ids, prompt_mask)
        if not len(features):
            # As in the plain Q-Former: one row that is removed again.
            rows = (tensor.new_zeros(1, *tensor.shape[1:]) for tensor in (features, prompt_ids, prompt_mask))
            return self.forward(*rows)[:0]
        count = self.config.queries
        mask = torch.cat([prompt_mask.new_ones(len(features), count), prompt_mask], dim=1)
        states = self.model(
            input_ids=prompt_ids,
            attention_mask=padding_mask(mask),
            query_embeds=self.query_tokens.expand(len(features), -1, -1),
            encoder_hidden_states=self.ln_vision(features),
        ).last_hidden_state
        projected: Tensor = self.projection(states[:, :count])
        return projected

    def _check(self, features: Tensor, prompt_ids: Tensor, prompt_mask: Tensor) -> None:
        if prompt_ids.shape != prompt_mask.shape or prompt_ids.ndim != 2 or len(prompt_ids) != len(features):
            raise ProjectorError(
                f"expected prompt_ids and prompt_mask of shape [{len(features)}, L], one row for each medium, got "
                f"{tuple(prompt_ids.shape)} and {tuple(prompt_mask.shape)}"
            )
        if prompt_ids.shape[1] > self.config.text_positions:
            raise ProjectorError(
                f"expected prompts of at most {self.config.text_positions} tokens, got {prompt_ids.shape[1]}; "
                f"cut them to {self.config.prompt_tokens}"
            )
