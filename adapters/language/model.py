"""The frozen language model as a port: embeddings in; loss, hidden states or text out.

Works with any ``*ForCausalLM`` of transformers that takes ``inputs_embeds`` (LLaMA, Qwen, Gemma, OPT, GPT-2, Mamba)
and with encoder-decoders (``T5ForConditionalGeneration``), see :mod:`inlay.adapters.language.wiring.protocol`. The
tokenizer decides whether a sequence starts with BOS: Qwen has none, OPT's is ``</s>``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from inlay.adapters.compatibility.digest import tokenizer_digest, weights_digest
from inlay.adapters.compatibility.ports import PRECISION
from inlay.adapters.conversation.layout import cut_at
from inlay.adapters.conversation.segments import Segment, Text
from inlay.adapters.language.fast_paths import FastPaths, probe, reads_padding
from inlay.adapters.language.freeze import freeze
from inlay.adapters.language.generation.generate import Generation, generate
from inlay.adapters.language.lm_head import head_reads, of_this_thread
from inlay.adapters.language.loss import token_losses
from inlay.adapters.language.packing.loss_plan import LossPlan
from inlay.adapters.language.precision import computed_in, precision_of
from inlay.adapters.language.wiring.decoder_only import DecoderOnly
from inlay.adapters.language.wiring.embeddings_check import accept_embeddings
from inlay.adapters.language.wiring.encoder_decoder import EncoderDecoder
from inlay.adapters.language.wiring.protocol import LanguageModelError, Wiring
from inlay.hub.format.manifest import PortSpec

__all__ = ["LanguageModel", "LanguageModelError"]


class LanguageModel(nn.Module):
    """One language model with its tokenizer, frozen.

    Args:
        model: a ``*ForCausalLM`` or a ``*ForConditionalGeneration`` of text.
        tokenizer: its fast tokenizer (offsets are needed to build label masks).
        source: the Hub id, or another name from which the same weights can be loaded.
        revision: the commit on the Hub, 40 hex digits.

    Raises:
        LanguageModelError: the tokenizer gives no offsets, or the model is wrapped by another library.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: Any, *, source: str | None = None, revision: str | None = None
    ) -> None:
        super().__init__()
        if not isinstance(model, PreTrainedModel):
            raise LanguageModelError(
                f"expected a model of transformers, got {type(model).__name__}: give the model itself, without the "
                "wrapper of torch.compile, of a distributed strategy or of peft (merge_and_unload() merges its weights)"
            )
        if not getattr(tokenizer, "is_fast", False):
            raise LanguageModelError(
                f"expected a fast tokenizer (tokenizer.json), got {type(tokenizer).__name__}: label masks are built "
                "from character offsets; convert it once with AutoTokenizer.from_pretrained(...).save_pretrained(...)"
            )
        accept_embeddings(model)
        self.model = freeze(model)
        self.tokenizer = tokenizer
        self._added: frozenset[int] = frozenset()
        """Ids of tokens that the attached adapter embeds."""
        self.source, self.revision = source, revision
        self.family: str = model.config.model_type
        self.wiring: Wiring = EncoderDecoder() if model.config.is_encoder_decoder else DecoderOnly()
        self._paths: dict[tuple[object, ...], FastPaths] = {}
        """Results of the tests of fast paths, by device, dtype and kind of attention."""
        self._reads_padding: bool | None = None
        """Whether left padding does not change the logits; None before the first padded batch."""

    @property
    def width(self) -> int:
        """Values per input embedding."""
        return int(self._table.shape[1])

    @property
    def vocabulary(self) -> int:
        """Rows of the model's own embedding table."""
        return len(self._table)

    @property
    def context(self) -> int | None:
        """The longest sequence, in positions; None where the model sets no limit."""
        return self.wiring.context(self.model)

    @property
    def device(self) -> torch.device:
        """The device on which the embeddings are computed; accelerate keeps offloaded weights on the meta device."""
        hook: Any = getattr(self.model.get_input_embeddings(), "_hf_hook", None)
        runs_on = getattr(hook, "execution_device", None)
        return torch.device(runs_on) if self._table.is_meta and runs_on is not None else self._table.device

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
        """The BOS token, if the tokenizer itself puts it first; None otherwise."""
        first = self.tokenizer("a").input_ids[:1]
        bos = self.tokenizer.bos_token_id
        return int(bos) if bos is not None and first == [bos] else None

    @property
    def pad_id(self) -> int:
        """An id for masked positions: the tokenizer's pad token or EOS if the embedding table has a row for it, or 0.

        LLaMA's tokenizers often have a pad token for which the model has no row.
        """
        given = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return next((int(i) for i in given if i is not None and 0 <= i < self.vocabulary), 0)

    @cached_property
    def stop_ids(self) -> list[int]:
        """Tokens that end a generation: the tokenizer's EOS and those of the generation config."""
        configured = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = configured if isinstance(configured, list) else [configured]
        return sorted({int(i) for i in [*ids, self.tokenizer.eos_token_id] if i is not None})

    @cached_property
    def special_tokens(self) -> tuple[str, ...]:
        """The texts of the tokenizer's added tokens, longest first."""
        return tuple(sorted(self.tokenizer.get_added_vocab(), key=len, reverse=True))

    @cached_property
    def port(self) -> PortSpec:
        """The interface of this language model, which an adapter records and compares."""
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
                "vocabulary": self.vocabulary,
                **({PRECISION: precision} if (precision := precision_of(self.model)) else {}),
            },
        )

    def use_tokenizer(self, tokenizer: Any, added: Sequence[int] = ()) -> Any:
        """Replace the tokenizer; the port does not change.

        Args:
            tokenizer: a tokenizer with the same ids for all previous texts, such as a copy with added tokens.
            added: ids of tokens that an adapter embeds.

        Returns:
            The previous tokenizer.
        """
        _ = self.port, self.bos_id, self.stop_ids  # computed now, from the tokenizer that belongs to the model
        before, self.tokenizer = self.tokenizer, tokenizer
        self._added = frozenset(added)
        self.__dict__.pop("special_tokens", None)
        return before

    def without_row(self, ids: Sequence[int]) -> int | None:
        """The first id that neither the model nor the attached adapter embeds; None if there is none."""
        if max(ids, default=0) < self.vocabulary:
            return None
        return next((i for i in ids if i >= self.vocabulary and i not in self._added), None)

    def embed(self, ids: Tensor) -> Tensor:
        """``[..., T]`` ids -> ``[..., T, width]``."""
        embeddings: Tensor = self.model.get_input_embeddings()(ids)
        return embeddings

    def arrange(self, laid: Sequence[Segment], *, generation: bool = False) -> tuple[list[Segment], list[Text] | None]:
        """Segments of a conversation -> those of the input sequence, and those of a separate target or None."""
        return self.wiring.arrange(laid, self.tokenizer, generation=generation)

    def supervised(self, labels: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The rows of the logits that predict a labelled token, and these tokens.

        Args:
            labels: ``[B, T]``, the label of each position.
            target: ``[B, U]``, the target of an encoder-decoder.

        Returns:
            ``rows`` bool, ``[B, T]`` or ``[B, U]``, and the targets ``[rows.sum()]`` in the same order.
        """
        return self.wiring.supervised(labels, target)

    def plan(
        self, labels: Tensor, mask: Tensor, target: Tensor | None = None, branches: Sequence[Sequence[int]] = ()
    ) -> LossPlan:
        """The loss plan of a batch. Computed before the batch is moved to its device, it avoids all host syncs.

        Args:
            labels: ``[B, T]``.
            mask: ``[B, T]``.
            target: ``[B, U]``, the target of an encoder-decoder.
            branches: for each row the lengths of its prefix and of its continuations; empty for plain rows.

        Returns:
            The plan on the device of the labels.
        """
        return self.wiring.plan(labels, mask, target, branches)

    def logits(
        self, embeddings: Tensor, mask: Tensor, rows: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        """Next-token logits.

        Args:
            embeddings: ``[B, T, width]``.
            mask: ``[B, T]``, 1 where there is a token.
            rows: bool, ``[B, T]`` or ``[B, U]``: only these logits are computed and returned.
            target: ``[B, U]``, the target of an encoder-decoder.

        Returns:
            ``[B, T, vocabulary]``, of an encoder-decoder ``[B, U, vocabulary]`` (the first step alone without a
            target); ``[rows.sum(), vocabulary]`` if rows are given.

        Raises:
            LanguageModelError: more positions than the context has.
        """
        self._check_length(mask)
        if rows is None:
            return self.wiring.run(self.model, embeddings, mask, target, self.pad_id)
        with head_reads(self.model, lambda hidden: hidden[rows][None]):
            scores = self.wiring.run(self.model, embeddings, mask, target, self.pad_id)
        # The second case is a model that applies its head without calling the module.
        return scores[0] if scores.shape[:2] != rows.shape else scores[rows]

    def states(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states ``[B, T, width]``; the head is not run.

        Raises:
            LanguageModelError: an encoder-decoder, or more positions than the context has.
        """
        self._check_length(mask)
        return self.wiring.states(self.model, embeddings, mask)

    def logits_and_states(
        self, embeddings: Tensor, mask: Tensor, rows: Tensor | None = None, target: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """:meth:`logits` and :meth:`states` from one forward pass."""
        with self._watched() as seen:
            scores = self.logits(embeddings, mask, rows, target)
        return scores, seen[-1]

    def loss(
        self, embeddings: Tensor, mask: Tensor, plan: LossPlan, target: Tensor | None = None, *, prune: bool = True
    ) -> Tensor:
        """Mean cross-entropy over the labelled tokens, in float32: the mean of :meth:`token_losses`."""
        return self.token_losses(embeddings, mask, plan, target, prune=prune).mean()

    def token_losses(
        self, embeddings: Tensor, mask: Tensor, plan: LossPlan, target: Tensor | None = None, *, prune: bool = True
    ) -> Tensor:
        """Cross-entropy of each labelled token ``[n]``, in float32 and in the order of the plan.

        The logits of a whole batch are not computed if the head is a frozen matrix and nothing follows it. Padding and
        positions after the last label are not computed if the model supports packed rows.

        Args:
            embeddings: ``[B, T, width]``.
            mask: ``[B, T]``.
            plan: a loss plan, see :meth:`plan`, with at least one label, on the device of the embeddings.
            target: ``[B, U]``, the target of an encoder-decoder.
            prune: leave out positions that no label depends on.

        Raises:
            LanguageModelError: more positions than the context has, or branches for a model without support for them.
        """
        self._check_length(mask)
        paths = self._fast_paths(embeddings)
        if plan.packed is not None and plan.packed.branches and not (paths.packs and prune):
            raise LanguageModelError(
                f"{self.family}: this model does not support branches; give each continuation a row of its own"
            )
        more: dict[str, Any] = {"pad_id": self.pad_id, "prune": prune}
        return token_losses(self.model, self.wiring, paths, embeddings, mask, plan, target, **more)

    def reads_branches(self, embeddings: Tensor) -> bool:
        """Whether rows may have branches: continuations of one prefix that do not attend to each other.

        Args:
            embeddings: any tensor with the device and dtype of the embeddings to come.
        """
        return self._fast_paths(embeddings).packs

    def _fast_paths(self, embeddings: Tensor) -> FastPaths:
        """The result of the test of fast paths for these embeddings; the first call runs it."""
        attention = self.model.config.get_text_config(decoder=True)._attn_implementation
        key = (embeddings.device, embeddings.dtype, computed_in(embeddings), attention)
        if key not in self._paths:
            self._paths[key] = probe(self.model, self.wiring, embeddings.dtype, self.pad_id)
        return self._paths[key]

    def _check_length(self, mask: Tensor) -> None:
        """Raise if a row has more positions than the context; the mask is read only if its width allows that."""
        context = self.context
        if context is not None and mask.shape[1] > context and (longest := int(mask.sum(dim=1).max())) > context:
            raise LanguageModelError(
                f"{self.family}: a row of {longest} positions is longer than the context of {context}; shorten it, or "
                "use an LLM with a longer context"
            )

    def loss_and_states(
        self, embeddings: Tensor, mask: Tensor, plan: LossPlan, target: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """:meth:`loss` and :meth:`states` from one forward pass over all positions."""
        with self._watched() as seen:
            loss = self.loss(embeddings, mask, plan, target, prune=False)
        return loss, seen[-1]

    @contextmanager
    def _watched(self) -> Iterator[list[Tensor]]:
        """Collect the last hidden states of every forward pass inside the context."""
        seen: list[Tensor] = []
        inside: Any = self.model.base_model
        handle = inside.register_forward_hook(of_this_thread(lambda *call: seen.append(call[-1].last_hidden_state)))
        try:
            yield seen
        finally:
            handle.remove()

    def generate(
        self,
        embeddings: Tensor,
        mask: Tensor,
        *,
        stop: Sequence[str] = (),
        stop_ids: Sequence[int] = (),
        max_new_tokens: int | None = None,
        **options: Any,
    ) -> Generation:
        """Continue each row; the rows are padded on the left.

        BLIP-2's own code puts the padding between the media and the text. Here all padding is on the left; positions
        count real tokens, so the numbers are the same.

        Args:
            embeddings: ``[B, T, width]``.
            mask: ``[B, T]``.
            stop: texts that end a row, in any tokenisation.
            stop_ids: tokens that end a row, such as the turn end of a chat template, in addition to EOS and those of
                the model's generation config (:attr:`stop_ids`).
            max_new_tokens: limit on new tokens, 512 by default; generation also ends at the end of the context.
            options: other options of transformers' ``generate`` (``min_new_tokens``, ``num_beams``,
                ``num_return_sequences``, ``length_penalty``, ``repetition_penalty``, ``do_sample``, ...). A repetition
                penalty covers new tokens only, since the model is given embeddings and no ids.

        Raises:
            LanguageModelError: an option cannot be used, a prompt fills the context, or the batch is padded and the
                model ignores the mask.
        """
        if len(mask) > 1 and not bool(mask.all()):
            self._check_padding(embeddings)
        return generate(
            self.model,
            self.tokenizer,
            self.wiring,
            embeddings,
            mask,
            ends=[*self.stop_ids, *stop_ids],
            stop=stop,
            pad_id=self.pad_id,
            max_new_tokens=max_new_tokens,
            **options,
        )

    def _check_padding(self, embeddings: Tensor) -> None:
        if self._reads_padding is None:
            self._reads_padding = reads_padding(self.model, self.wiring, embeddings.dtype, self.pad_id, len(embeddings))
        if not self._reads_padding:
            raise LanguageModelError(
                f"{self.family}: this model ignores the attention mask, so rows of different lengths cannot share one "
                "batch; answer one conversation at a time (batch size 1)"
            )

    def decode(self, ids: Sequence[int], *, stop: Sequence[str] = ()) -> str:
        """Text of generated ids up to the first stop text, stripped and without special tokens."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return cut_at(text, stop).strip()
