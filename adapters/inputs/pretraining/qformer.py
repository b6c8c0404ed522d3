"""The Q-Former of BLIP-2's first stage, with its text branch and its heads (https://arxiv.org/abs/2301.12597).

One transformer is used in three ways, with different attention masks:

==================  ==================  ======================================  =========================
use                 queries attend to   text attends to                         head
==================  ==================  ======================================  =========================
contrast (ITC)      queries, features   text                                    ``vision_projection``,
                                                                                ``text_projection``
matching (ITM)      queries, text,      queries, text                           ``itm_head``, mean over
                    features                                                    the queries
generation (LM)     queries, features   queries, and text up to itself          ``lm_head``
==================  ==================  ======================================  =========================

The tensors are those of transformers' ``Blip2ForImageTextRetrieval`` (which has no LM head). The losses are
in the training objective; :func:`inlay.adapters.inputs.pretraining.bert.load_bert` sets the first weights, and
:meth:`QFormerPretrainer.projector` copies them to the next stage.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from inlay.adapters.inputs.instruct_qformer import InstructQFormerConfig, InstructQFormerProjector
from inlay.adapters.inputs.qformer import QFormerConfig, QFormerProjector, QFormerSizes, new_queries, padding_mask
from inlay.adapters.parts.fields import Queries, Size, complete

__all__ = ["QFormerPretrainConfig", "QFormerPretrainer", "generation_mask", "itc_scores"]


@dataclass(frozen=True, kw_only=True)
class QFormerPretrainConfig(QFormerSizes):
    """Sizes of a Q-Former with its text branch and heads."""

    vocabulary: Size = 30523
    """Entries of BERT's tokenizer, with ``[DEC]``."""
    text_positions: Queries = 512
    """Rows of the position table."""
    embedding: Size = 256
    """Width of the space in which images and texts are compared."""


class TextEmbeddings(nn.Module):
    """Word plus position embeddings: ``[n, L]`` -> ``[n, L, hidden]``. The transformer applies the LayerNorm."""

    def __init__(self, vocabulary: int, positions: int, hidden: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, hidden, padding_idx=0)
        self.position_embeddings = nn.Embedding(positions, hidden)
        for table in (self.word_embeddings, self.position_embeddings):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """``[n, L]`` -> ``[n, L, hidden]``."""
        embedded: Tensor = self.word_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]]
        return embedded


class LanguageHead(nn.Module):
    """BERT's LM head: linear layer, GELU, LayerNorm, then the word embeddings as output matrix, plus a bias."""

    def __init__(self, hidden: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states: Tensor, words: Tensor) -> Tensor:
        """``[n, L, hidden]`` and ``[vocabulary, hidden]`` -> logits ``[n, L, vocabulary]``."""
        return F.linear(self.norm(F.gelu(self.dense(states))), words, self.bias)


def generation_mask(queries: int, mask: Tensor) -> Tensor:
    """The attention mask of caption generation: queries attend to queries, text to queries and text up to itself.

    Args:
        queries: number of queries before the text.
        mask: ``[n, L]``, 1 where there is a token; padding is masked.

    Returns:
        ``[n, 1, queries + L, queries + L]`` bool, True where the row may attend to the column.

    Example:
        >>> generation_mask(1, torch.tensor([[1, 1, 0]]))[0, 0].int().tolist()
        [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
    """
    n, length = mask.shape
    allowed = torch.ones(queries + length, queries + length, dtype=torch.bool, device=mask.device).tril()
    allowed[:queries] = torch.arange(queries + length, device=mask.device) < queries
    seen = torch.cat([mask.new_ones(n, queries), mask], dim=1).bool()
    return (allowed & seen[:, None, :])[:, None]


def itc_scores(images: Tensor, texts: Tensor) -> Tensor:
    """Cosine similarity of each text and the query of each image that is closest to it.

    Args:
        images: ``[n, queries, embedding]``, normalised.
        texts: ``[m, embedding]``, normalised.

    Returns:
        ``[n, m]``.

    Example:
        >>> itc_scores(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0.0, 1.0], [0.6, 0.8]])).tolist()
        [[1.0, 0.800000011920929]]
    """
    return torch.einsum("nqd,md->nqm", images, texts).amax(dim=1)


class QFormerPretrainer(nn.Module):
    """Q-Former, text branch and heads."""

    def __init__(self, config: QFormerPretrainConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        self.ln_vision = nn.LayerNorm(config.width_in, eps=config.norm_eps)
        self.query_tokens = new_queries(config)
        self.embeddings = TextEmbeddings(config.vocabulary, config.text_positions, config.hidden)
        self.qformer = Blip2QFormerModel(Blip2QFormerConfig(**config.transformer, use_qformer_text_input=True))
        self.vision_projection = nn.Linear(config.hidden, config.embedding)
        self.text_projection = nn.Linear(config.hidden, config.embedding)
        self.itm_head = nn.Linear(config.hidden, 2)
        self.lm_head = LanguageHead(config.hidden, config.vocabulary)
        self.temperature = nn.Parameter(torch.tensor(0.07))
        """Learned; the contrastive loss divides :func:`itc_scores` by it."""

    def image_states(self, features: Tensor) -> Tensor:
        """Hidden states of the queries, without text: ``[n, features, width_in]`` -> ``[n, queries, hidden]``."""
        return self._states(self._queries(len(features)), features, None)

    def image_embeddings(self, features: Tensor) -> Tensor:
        """Normalised image embeddings for contrast: ``[n, features, width_in]`` -> ``[n, queries, embedding]``."""
        return F.normalize(self.vision_projection(self.image_states(features)), dim=-1)

    def text_embeddings(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Normalised text embeddings for contrast (of the class token): ids, mask ``[m, L]`` -> ``[m, embedding]``."""
        states = self.qformer(
            query_embeds=self.embeddings(ids), query_length=0, attention_mask=padding_mask(mask)
        ).last_hidden_state
        return F.normalize(self.text_projection(states[:, 0]), dim=-1)

    def matching_logits(self, features: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits of whether image and text match: ``[n, 2]``, (no, yes).

        Args:
            features: ``[n, features, width_in]``.
            ids: ``[n, L]``, one text for each image.
            mask: ``[n, L]``.
        """
        joint_mask = torch.cat([mask.new_ones(len(mask), self.config.queries), mask], dim=1)
        states = self._states(self._joined(ids), features, padding_mask(joint_mask))[:, : self.config.queries]
        logits: Tensor = self.itm_head(states).mean(dim=1)
        return logits

    def caption_logits(self, features: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits of the next token after each token of a caption, given the image.

        Args:
            features: ``[n, features, width_in]``.
            ids: ``[n, L]``; the paper replaces ``[CLS]`` by ``[DEC]``, which marks this use.
            mask: ``[n, L]``.

        Returns:
            ``[n, L, vocabulary]``; row ``t`` depends on the tokens up to ``t``.
        """
        states = self._states(self._joined(ids), features, generation_mask(self.config.queries, mask))
        logits: Tensor = self.lm_head(states[:, self.config.queries :], self.embeddings.word_embeddings.weight)
        return logits

    def projector(self, width_out: int) -> QFormerProjector:
        """A stage-2 projector with copies of these weights, without text branch and heads; its linear layer is new."""
        sizes = {field.name: getattr(self.config, field.name) for field in fields(QFormerSizes)}
        built = QFormerProjector(QFormerConfig(width_out=width_out, **sizes))
        kept = {name: tensor for name, tensor in self.qformer.state_dict().items() if not _is_text(name)}
        built.qformer.model.load_state_dict(kept)
        built.qformer.ln_vision.load_state_dict(self.ln_vision.state_dict())
        with torch.no_grad():
            built.qformer.query_tokens.copy_(self.query_tokens)
        return built

    def instruct_projector(self, width_out: int, **settings: int) -> InstructQFormerProjector:
        """An instruction-aware projector with copies of these weights, text branch included; its linear layer is new.

        Args:
            width_out: values per LLM embedding.
            settings: other fields of :class:`InstructQFormerConfig`, such as ``prompt_tokens``.
        """
        sizes = {name: value for name, value in asdict(self.config).items() if name != "embedding"}
        built = InstructQFormerProjector(InstructQFormerConfig(width_out=width_out, **(sizes | settings)))
        tensors = {f"embeddings.{name}": tensor for name, tensor in self.embeddings.state_dict().items()}
        for name, tensor in self.qformer.state_dict().items():
            tensors[f"embeddings.{name}" if name.startswith("layernorm.") else name] = tensor
        built.model.load_state_dict(tensors)
        built.ln_vision.load_state_dict(self.ln_vision.state_dict())
        with torch.no_grad():
            built.query_tokens.copy_(self.query_tokens)
        return built

    def _queries(self, count: int) -> Tensor:
        return self.query_tokens.expand(count, -1, -1)

    def _joined(self, ids: Tensor) -> Tensor:
        return torch.cat([self._queries(len(ids)), self.embeddings(ids)], dim=1)

    def _states(self, inputs: Tensor, features: Tensor, mask: Tensor | None) -> Tensor:
        states: Tensor = self.qformer(
            query_embeds=inputs,
            query_length=self.config.queries,
            attention_mask=mask,
            encoder_hidden_states=self.ln_vision(features),
        ).last_hidden_state
        return states


def _is_text(name: str) -> bool:
    """Whether a tensor of a Q-Former's layer belongs to the text's feed-forward block."""
    layer, _, inner = name.removeprefix("encoder.layer.").partition(".")
    return layer.isdigit() and inner.startswith(("intermediate.", "output."))
