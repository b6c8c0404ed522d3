"""P-Former, the text-only teacher of BLIText (Jian et al., 2023, https://arxiv.org/abs/2307.07063).

``P(t) = tanh(W reshape(E BERT(t)[CLS]))`` maps a sentence to the soft prompt that makes a language model generate it.
It is trained on text alone, and it is *not* a projector: while the Q-Former trains, the prompt that it computes from an
image is pulled towards the prompt that the P-Former computes from the caption. After that the P-Former is not needed,
so it is not stored in bundles.

The functions here are the losses; the recipe sets their weights relative to the language-model loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from inlay.adapters.inputs.protocol import ProjectorError
from inlay.adapters.inputs.qformer import padding_mask
from inlay.adapters.parts.fields import Queries, Size, check_fields

__all__ = ["PFormer", "PFormerConfig", "alignment_loss", "vocabulary_loss"]


@dataclass(frozen=True, kw_only=True)
class PFormerConfig:
    """Sizes of the teacher's heads; BERT has its own configuration."""

    width_out: Size
    """Values per LLM embedding."""
    queries: Queries = 32
    """Vectors of a prompt, as many as the student has queries."""

    def __post_init__(self) -> None:
        check_fields(self)


class PFormer(nn.Module):
    """``[n, L]`` token ids -> prompts ``[n, queries, width_out]``.

    Args:
        config: sizes.
        bert: a ``BertModel``; the last hidden state of its class token represents the sentence.
    """

    def __init__(self, config: PFormerConfig, bert: PreTrainedModel) -> None:
        super().__init__()
        self.config = config
        self.bert = bert
        hidden = int(bert.config.hidden_size)
        self.expand = nn.Linear(hidden, config.queries * hidden)
        self.projection = nn.Linear(hidden, config.width_out)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Prompts for sentences.

        Args:
            ids: ``[n, L]`` of BERT's tokenizer.
            mask: ``[n, L]``, 1 where there is a token.

        Returns:
            ``[n, queries, width_out]``, each value between -1 and 1.
        """
        if self.bert.config._attn_implementation == "sdpa":
            mask = padding_mask(mask)
        sentence = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        vectors = self.expand(sentence).unflatten(-1, (self.config.queries, -1))
        return torch.tanh(self.projection(vectors))


def alignment_loss(prompts: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference between the student's prompts and the teacher's, which get no gradient.

    Args:
        prompts: ``[n, queries, width]`` of an input projector.
        targets: ``[n, queries, width]`` of the P-Former, for the captions of the same media.

    Raises:
        ProjectorError: the shapes differ; torch would broadcast them.

    Example:
        >>> alignment_loss(torch.ones(2, 3, 4), torch.zeros(2, 3, 4)).item()
        1.0
    """
    if prompts.shape != targets.shape:
        raise ProjectorError(
            f"expected the teacher's prompts in the student's shape {tuple(prompts.shape)}, got "
            f"{tuple(targets.shape)}; give the P-Former as many queries and the same width"
        )
    return F.mse_loss(prompts, targets.detach())


def vocabulary_loss(prompts: Tensor, embeddings: Tensor) -> Tensor:
    """Mean squared difference between each prompt vector and the nearest input embedding of the language model.

    It keeps the teacher's prompts close to embeddings that the language model was trained on. The embedding itself gets
    no gradient.

    Args:
        prompts: ``[n, queries, width]``.
        embeddings: ``[vocabulary, width]``, the LLM's input embeddings.

    Example:
        >>> words = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
        >>> vocabulary_loss(torch.tensor([[[0.5, 1.0]]]), words).item()
        0.125
    """
    flat = prompts.flatten(0, 1)
    with torch.no_grad():
        nearest = embeddings[torch.cdist(flat, embeddings).argmin(dim=1)]
    return F.mse_loss(flat, nearest)
