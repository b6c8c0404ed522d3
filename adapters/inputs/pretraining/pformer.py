"""P-Former, the text-only teacher of BLIText (Jian et al., 2023, https://arxiv.org/abs/2307.07063).

``P(t) = tanh(W reshape(E BERT(t)[CLS]))``: from a sentence alone, the prompt that makes a language model say it. It is
trained on text without pictures, and it is *not* a projector: when the Q-Former trains, the prompt it makes of a
picture is drawn towards the prompt that the P-Former makes of its caption, and then the P-Former has done its work. No
bundle holds one.

The functions here are the targets; how they are weighted beside the language-model loss is the recipe's choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from inlay.adapters.parts.fields import ProjectorError, Queries, Size, check_fields

__all__ = ["PFormer", "PFormerConfig", "alignment_loss", "vocabulary_loss"]


@dataclass(frozen=True, kw_only=True)
class PFormerConfig:
    """Sizes of the teacher's heads; those of BERT are its own."""

    width_out: Size
    """Values per LLM embedding."""
    queries: Queries = 32
    """Vectors in a prompt, as many as the student's queries."""

    def __post_init__(self) -> None:
        check_fields(self)


class PFormer(nn.Module):
    """``[n, L]`` token ids -> prompts ``[n, queries, width_out]``.

    Args:
        config: sizes.
        bert: a ``BertModel``; its class token's last state is what a sentence is.
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
        sentence = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        vectors = self.expand(sentence).unflatten(-1, (self.config.queries, -1))
        return torch.tanh(self.projection(vectors))


def alignment_loss(prompts: Tensor, targets: Tensor) -> Tensor:
    """Mean squared distance of a student's prompts from the teacher's, which get no gradient.

    Args:
        prompts: ``[n, queries, width]`` of an input projector.
        targets: ``[n, queries, width]`` of the P-Former, for the captions of the same media.

    Raises:
        ProjectorError: other shapes; they would be broadcast without a word.

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
    """Mean squared distance of each prompt vector from its nearest embedding of the language model.

    It keeps the teacher's prompts where the language model knows its way. The choice of the nearest one, and the
    embedding itself, get no gradient.

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
