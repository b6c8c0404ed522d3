"""The frozen language model as a port: embeddings in, logits or text out.

Works with any ``*ForCausalLM`` of transformers that takes ``inputs_embeds`` (LLaMA, Vicuna, Qwen2, Qwen3, OPT, ...) and
with encoder-decoders (``T5ForConditionalGeneration``), see :mod:`inlay.adapters.language.wiring`.
Whether a sequence starts with BOS is asked of the tokenizer, not assumed: Qwen has none, OPT's is ``</s>``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    LogitsProcessorList,
    PreTrainedModel,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
)

from inlay.adapters.compatibility.digest import tokenizer_digest, weights_digest
from inlay.adapters.compatibility.ports import PRECISION
from inlay.adapters.conversation.layout import cut_at
from inlay.adapters.conversation.segments import Segment, Text
from inlay.adapters.language.cross_entropy import frozen_cross_entropy
from inlay.adapters.language.freeze import freeze
from inlay.adapters.language.frozen_prefix import Constant, Constants
from inlay.adapters.language.lm_head import frozen_head
from inlay.adapters.language.precision import precision_of
from inlay.adapters.language.wiring import LanguageModelError, wiring_of
from inlay.hub.format.manifest import PortSpec

__all__ = ["LanguageModel", "LanguageModelError"]


class LanguageModel(nn.Module):
    """One language model with its tokenizer, frozen.

    Args:
        model: a ``*ForCausalLM`` or a ``*ForConditionalGeneration`` of text.
        tokenizer: its fast tokenizer (offsets are needed to build label masks).
        source: the Hub id, or another name by which the same weights can be found again.
        revision: the commit on the Hub, 40 hex digits.

    Raises:
        LanguageModelError: the tokenizer gives no offsets.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: Any, *, source: str | None = None, revision: str | None = None
    ) -> None:
        super().__init__()
        if not getattr(tokenizer, "is_fast", False):
            raise LanguageModelError(
                f"expected a fast tokenizer (tokenizer.json), got {type(tokenizer).__name__}: label masks are built "
                "from character offsets; convert it once with AutoTokenizer.from_pretrained(...).save_pretrained(...)"
            )
        self.model = freeze(model)
        self.tokenizer = tokenizer
        self.source, self.revision = source, revision
        self.family: str = model.config.model_type
        self.wiring = wiring_of(model)
        self._constants = Constants()
        self._bare_head = True
        """Whether the model's scores are those of its head; seen at the first loss."""

    @property
    def width(self) -> int:
        """Values per input embedding."""
        return int(self._table.shape[1])

    @property
    def context(self) -> int | None:
        """The longest sequence, in positions; None where the model sets no limit."""
        return self.wiring.context(self.model)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._table.device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the embeddings."""
        return self._table.dtype

    @property
    def _table(self) -> Tensor:
        """Input embeddings, ``[vocabulary, width]``."""
        return self.model.get_input_embeddings().get_parameter("weight")

    @cached_property
    def bos_id(self) -> int | None:
        """The token that this tokenizer itself puts first, or None."""
        first = self.tokenizer("a").input_ids[:1]
        bos = self.tokenizer.bos_token_id
        return int(bos) if bos is not None and first == [bos] else None

    @property
    def pad_id(self) -> int:
        """A valid id for positions that are masked anyway."""
        for candidate in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if candidate is not None:
                return int(candidate)
        return 0

    @cached_property
    def stop_ids(self) -> list[int]:
        """Tokens that end a generation: the tokenizer's EOS and those of the generation config."""
        configured = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = configured if isinstance(configured, list) else [configured]
        return sorted({int(i) for i in [*ids, self.tokenizer.eos_token_id] if i is not None})

    @cached_property
    def special_tokens(self) -> tuple[str, ...]:
        """Every string that the tokenizer turns into one added token, longest first."""
        return tuple(sorted(self.tokenizer.get_added_vocab(), key=len, reverse=True))

    @cached_property
    def port(self) -> PortSpec:
        """What an adapter has to know of this language model."""
        return PortSpec(
            kind="llm",
            family=self.family,
            width=self.width,
            tokens=None,
            source=self.source,
            revision=self.revision,
            tokenizer=tokenizer_digest(self.tokenizer),
            weights=weights_digest(self.model),
            settings={
                **self.wiring.settings(self.model),
                "vocabulary": int(self._table.shape[0]),
                **({PRECISION: precision} if (precision := precision_of(self.model)) else {}),
            },
        )

    def use_tokenizer(self, tokenizer: Any) -> Any:
        """Read and write with another tokenizer from now on; the port stays what it is.

        Args:
            tokenizer: one that gives every old text its old ids, such as a copy with more tokens.

        Returns:
            The tokenizer until now.
        """
        _ = self.port, self.bos_id, self.stop_ids  # these are of the tokenizer that the model came with
        before, self.tokenizer = self.tokenizer, tokenizer
        self.__dict__.pop("special_tokens", None)
        return before

    def embed(self, ids: Tensor) -> Tensor:
        """``[..., T]`` ids -> ``[..., T, width]``."""
        embeddings: Tensor = self.model.get_input_embeddings()(ids)
        return embeddings

    def arrange(self, laid: Sequence[Segment], *, generation: bool = False) -> tuple[list[Segment], list[Text] | None]:
        """Segments of a conversation -> those that this model reads, and those of a target that is apart, or None."""
        return self.wiring.arrange(laid, self.tokenizer, generation=generation)

    def supervised(self, labels: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Which rows of the logits predict a labelled token, and what they must predict.

        Args:
            labels: ``[B, T]`` beside the ids.
            target: ``[B, U]`` of an encoder-decoder's decoder.

        Returns:
            ``rows`` bool, ``[B, T]`` or ``[B, U]``, and the targets ``[rows.sum()]`` in the same order.
        """
        return self.wiring.supervised(labels, target)

    def logits(
        self, embeddings: Tensor, mask: Tensor, rows: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        """Next-token logits.

        Args:
            embeddings: ``[B, T, width]``.
            mask: ``[B, T]``, 1 where there is a token.
            rows: bool, ``[B, T]`` or ``[B, U]``: only these are returned.
            target: ``[B, U]``, what the decoder of an encoder-decoder has to write.

        Returns:
            ``[B, T, vocabulary]``, of an encoder-decoder ``[B, U, vocabulary]`` (its first step alone without a
            target); ``[rows.sum(), vocabulary]`` where rows are given.
        """
        return self.wiring.logits(self.model, embeddings, mask, rows, target, self.pad_id)

    def states(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states ``[B, T, width]``, as the head reads them; the head itself is not run.

        Raises:
            LanguageModelError: an encoder-decoder.
        """
        return self.wiring.states(self.model, embeddings, mask)

    def logits_and_states(
        self, embeddings: Tensor, mask: Tensor, rows: Tensor | None = None, target: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """:meth:`logits` and :meth:`states` of one forward pass."""
        with self._watched() as seen:
            scores = self.logits(embeddings, mask, rows, target)
        return scores, seen[-1]

    def loss(
        self,
        embeddings: Tensor,
        mask: Tensor,
        rows: Tensor,
        targets: Tensor,
        target: Tensor | None = None,
        *,
        prune: bool = True,
        constant: Constant | None = None,
    ) -> Tensor:
        """Mean cross-entropy at labelled rows, as of :meth:`logits`, without their scores.

        Where the head is more than a frozen matrix, or the model does something with its scores, it is taken of the
        scores after all.

        Args:
            embeddings: ``[B, T, width]``.
            mask: ``[B, T]``.
            rows: bool, ``[B, T]`` or ``[B, U]``, at least one.
            targets: ``[rows.sum()]``.
            target: ``[B, U]``, what the decoder of an encoder-decoder has to write.
            prune: leave out of the pass what no label asks for.
            constant: words with which all rows begin, and which are read once and for all.
        """
        head = frozen_head(self.model) if self._bare_head else None
        if head is not None:
            past = None
            if constant is not None:
                words = embeddings[:1, : len(constant.ids)].detach()
                past = self._constants.get(constant, words, partial(self.wiring.read, self.model))
            hidden = self.wiring.hidden(self.model, embeddings, mask, rows, target, self.pad_id, prune=prune, past=past)
            if hidden is not None:
                return frozen_cross_entropy(hidden, head, targets)
            self._bare_head = False
        return F.cross_entropy(self.logits(embeddings, mask, rows, target).float(), targets)

    def loss_and_states(
        self, embeddings: Tensor, mask: Tensor, rows: Tensor, targets: Tensor, target: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """:meth:`loss` and :meth:`states` of one forward pass, in which nothing can be left out."""
        with self._watched() as seen:
            loss = self.loss(embeddings, mask, rows, targets, target, prune=False)
        return loss, seen[-1]

    @contextmanager
    def _watched(self) -> Iterator[list[Tensor]]:
        """While this lasts, the last hidden states of every pass are in the list."""
        seen: list[Tensor] = []
        inside: Any = self.model.base_model
        handle = inside.register_forward_hook(lambda *call: seen.append(call[-1].last_hidden_state))
        try:
            yield seen
        finally:
            handle.remove()

    @torch.no_grad()
    def generate(
        self, embeddings: Tensor, mask: Tensor, *, stop: Sequence[str] = (), **options: Any
    ) -> list[list[int]]:
        """Continue each row; the rows are padded on the left.

        BLIP-2's own code puts the media in front of a decoder's padding, the text behind it. Here all padding is in
        front: a decoder's positions are counted over what is not padding, so the numbers are the same.

        Args:
            embeddings: ``[B, T, width]``.
            mask: ``[B, T]``.
            stop: texts that end a row, however they are tokenised.
            options: passed to ``transformers``' ``generate`` (``max_new_tokens``, ``min_new_tokens``, ``num_beams``,
                ``length_penalty``, ``repetition_penalty``, ``do_sample``, ...). A repetition penalty looks at all new
                tokens and at nothing else, since the model is given embeddings and no ids.

        Returns:
            New token ids of each row, up to its end.
        """
        criteria = StoppingCriteriaList([_StopText(self.tokenizer, stop)]) if stop else None
        ends = self._ends(stop)
        configured = getattr(self.model.generation_config, "repetition_penalty", None)
        penalty = float(options.pop("repetition_penalty", None) or configured or 1.0)
        # Transformers would skip as many new tokens as a row has padding in front, as if they were the prompt's ids.
        penalties = [RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1.0 else []
        generate: Any = self.model.generate
        ids = generate(
            inputs_embeds=embeddings,
            attention_mask=mask,
            eos_token_id=ends or None,
            pad_token_id=self.pad_id,
            stopping_criteria=criteria,
            repetition_penalty=1.0,
            logits_processor=LogitsProcessorList([*penalties, *options.pop("logits_processor", ())]),
            **options,
        )
        return [_until(row, ends) for row in self.wiring.written(ids).tolist()]

    def decode(self, ids: Sequence[int], *, stop: Sequence[str] = ()) -> str:
        """Text of generated ids, cut at the first stop text, special tokens left out, stripped."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return cut_at(text, stop).strip()

    def _ends(self, stop: Sequence[str]) -> list[int]:
        """Tokens that end a row: EOS, and stop texts that are one token, which ``min_new_tokens`` can then forbid."""
        spelled = [self.tokenizer(mark, add_special_tokens=False).input_ids for mark in stop]
        single = {ids[0] for ids, mark in zip(spelled, stop, strict=True) if len(ids) == 1 and self._says(ids, mark)}
        return sorted({*self.stop_ids, *single})

    def _says(self, ids: list[int], text: str) -> bool:
        return bool(self.tokenizer.decode(ids) == text)


def _until(row: list[int], ends: Sequence[int]) -> list[int]:
    """A row up to and with its first end."""
    for index, token in enumerate(row):
        if token in ends:
            return row[: index + 1]
    return row


class _StopText(StoppingCriteria):
    """Stops a row as soon as its decoded text holds a stop text: ``###`` alone has two spellings in tokens."""

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(stop)

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        texts = self.tokenizer.batch_decode(input_ids, skip_special_tokens=True)
        hits = [any(mark in text for mark in self.stop) for text in texts]
        return torch.tensor(hits, device=input_ids.device)
