"""How a language model is wired: one stack that reads and writes, or an encoder that reads and a decoder that writes.

A decoder-only model (OPT, LLaMA, Qwen) sees media, question and answer in one sequence and predicts one position ahead.
An encoder-decoder (T5, Raffel et al., 2020, https://arxiv.org/abs/1910.10683) gets media and everything up to the last
question in its encoder, the *source*; the last answer is its decoder's *target*. Nothing else in the house asks which
of the two it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from inlay.adapters.conversation.segments import Segment, Text
from inlay.adapters.language.frozen_prefix import Layers, cache_of
from inlay.adapters.language.known_layers import passes_on, runs_twice
from inlay.adapters.language.labels import IGNORE, labelled_rows
from inlay.adapters.language.last_layer import last_layer_at
from inlay.adapters.language.lm_head import handed_through
from inlay.adapters.language.packed_attention import Packed, packed_attention
from inlay.hub.errors import InlayError

__all__ = ["DecoderOnly", "EncoderDecoder", "LanguageModelError", "Wiring", "wiring_of"]


class LanguageModelError(InlayError):
    """The language model or its tokenizer cannot do what an adapter needs."""


class Wiring(Protocol):
    """What differs between the two; everything that a :class:`LanguageModel` does is put together from these."""

    def context(self, model: Any) -> int | None:
        """The longest sequence, in positions; None where positions are relative."""
        ...

    def settings(self, model: Any) -> dict[str, int]:
        """Depths that an adapter has to agree on."""
        ...

    def arrange(
        self, laid: Sequence[Segment], tokenizer: Any, *, generation: bool
    ) -> tuple[list[Segment], list[Text] | None]:
        """Segments of a conversation -> those of the sequence that is read, and those of the target if it is apart."""
        ...

    def supervised(self, labels: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Which rows of the logits predict a label, ``[B, T]`` bool, and what they must predict, ``[rows.sum()]``."""
        ...

    def logits(
        self, model: Any, embeddings: Tensor, mask: Tensor, rows: Tensor | None, target: Tensor | None, pad_id: int
    ) -> Tensor:
        """Scores ``[B, T, vocabulary]``, or ``[rows.sum(), vocabulary]``."""
        ...

    def hidden(
        self,
        model: Any,
        embeddings: Tensor,
        mask: Tensor,
        rows: Tensor,
        target: Tensor | None,
        pad_id: int,
        *,
        prune: bool,
        past: Layers | None = None,
    ) -> Tensor | None:
        """What the head reads at the given rows, ``[rows.sum(), width]``; None if something stands behind the head.

        With a ``past``, the keys and values of the first positions of every row, these are not read again.
        """
        ...

    def read(self, model: Any, embeddings: Tensor) -> Layers | None:
        """Keys and values of ``[1, n, width]`` in all layers; None where a pass cannot begin behind them."""
        ...

    def states(self, model: Any, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states ``[B, T, width]`` beside what is read."""
        ...

    def written(self, ids: Tensor) -> Tensor:
        """What ``generate`` returned, without what it was given to start from."""
        ...


class DecoderOnly:
    """One sequence for all: labels lie beside the ids that they belong to.

    Args:
        packs: whether a loss is taken without padding where that pays, see
        :mod:`inlay.adapters.language.packed_attention`.
    """

    def __init__(self, packs: bool = True) -> None:
        self.packs = packs

    def context(self, model: Any) -> int | None:
        """The positions that the model has embeddings or a base for."""
        return int(model.config.max_position_embeddings)

    def settings(self, model: Any) -> dict[str, int]:
        """Number of layers."""
        return {"layers": int(model.config.num_hidden_layers)}

    def arrange(
        self, laid: Sequence[Segment], tokenizer: Any, *, generation: bool
    ) -> tuple[list[Segment], list[Text] | None]:
        """As it is."""
        return list(laid), None

    def supervised(self, labels: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Position ``t`` predicts label ``t + 1``."""
        return labelled_rows(labels)

    def logits(
        self, model: Any, embeddings: Tensor, mask: Tensor, rows: Tensor | None, target: Tensor | None, pad_id: int
    ) -> Tensor:
        """Scores of the token after each position; only the given rows go through the LM head."""
        logits = self._run(model, embeddings, mask, 0 if rows is None else rows)
        return logits.reshape(-1, logits.shape[-1]) if rows is not None else logits

    def hidden(
        self,
        model: Any,
        embeddings: Tensor,
        mask: Tensor,
        rows: Tensor,
        target: Tensor | None,
        pad_id: int,
        *,
        prune: bool,
        past: Layers | None = None,
    ) -> Tensor | None:
        """Pruned: without positions behind the last label, and with a last layer that asks for labelled ones only."""
        if prune:
            end = int(rows.any(dim=0).nonzero().max()) + 1
            embeddings, mask, rows = embeddings[:, :end], mask[:, :end], rows[:, :end]
        if runs_twice(model):
            past = None  # Each of the two would put its keys behind it.
        begun = 0 if past is None else past[0][0].shape[2]
        behind, left = embeddings[:, begun:], rows[:, begun:]
        if prune and self.packs and (given := self._packed(model, behind, mask, left, past)) is not None:
            return given
        with handed_through(model) as seen, last_layer_at(model, left if prune else None) as pruned:
            given = self._run(model, behind, mask, 0 if pruned else left, past)
        return given.reshape(-1, given.shape[-1]) if given is seen[0] else None

    def _packed(self, model: Any, embeddings: Tensor, mask: Tensor, rows: Tensor, past: Layers | None) -> Tensor | None:
        """:meth:`hidden` with the rows end to end; None where that does not pay, or the model cannot read them so."""
        packed = Packed(mask[:, -rows.shape[1] :], mask.shape[1] - rows.shape[1])
        if not packed.pays:
            return None
        with handed_through(model) as seen, packed_attention(model) as attends:
            if not attends:
                return None
            with last_layer_at(model, rows, packed):
                output = model(
                    inputs_embeds=packed.flat(embeddings),
                    attention_mask=None,
                    position_ids=packed.positions,
                    logits_to_keep=0,
                    past_key_values=None if past is None else cache_of(past, 1),
                    use_cache=past is not None,
                    **packed.arguments,
                )
        return output.logits[0] if output.logits is seen[0] else None

    def read(self, model: Any, embeddings: Tensor) -> Layers | None:
        """For layers that are known."""
        if not passes_on(model):
            return None
        with torch.no_grad():
            cache = model.base_model(inputs_embeds=embeddings, use_cache=True).past_key_values
        return tuple((layer.keys, layer.values) for layer in cache.layers)

    def _run(
        self, model: Any, embeddings: Tensor, mask: Tensor, keep: int | Tensor, past: Layers | None = None
    ) -> Tensor:
        output = model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=_positions(mask)[:, -embeddings.shape[1] :],
            logits_to_keep=keep,
            past_key_values=None if past is None else cache_of(past, len(embeddings)),
            use_cache=past is not None,
        )
        logits: Tensor = output.logits
        return logits

    def states(self, model: Any, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Of the stack without its head, after its last norm."""
        output = model.base_model(
            inputs_embeds=embeddings, attention_mask=mask, position_ids=_positions(mask), use_cache=False
        )
        states: Tensor = output.last_hidden_state
        return states

    def written(self, ids: Tensor) -> Tensor:
        """All: generation from embeddings starts with no ids."""
        return ids


class EncoderDecoder:
    """Source to the encoder, target to the decoder."""

    def context(self, model: Any) -> int | None:
        """None for T5's relative positions."""
        positions = getattr(model.config, "max_position_embeddings", None)
        return None if positions is None else int(positions)

    def settings(self, model: Any) -> dict[str, int]:
        """Number of layers of both stacks."""
        config = model.config
        decoder: int | None = getattr(config, "num_decoder_layers", None) or getattr(config, "decoder_layers", None)
        return {"layers": int(config.num_hidden_layers), "decoder_layers": decoder or 0}

    def arrange(
        self, laid: Sequence[Segment], tokenizer: Any, *, generation: bool
    ) -> tuple[list[Segment], list[Text] | None]:
        """Everything up to the last answer is the source, the words of the last answer and EOS are the target.

        What a template writes around the last answer (a space, a newline, ``###``) is left out: an encoder-decoder has
        its own start and its own end of an answer.
        """
        end = [Text(tokenizer.eos_token)] if _appends_eos(tokenizer) else []
        if generation:
            return [*laid, *end], None
        start, words = _last_answer(laid)
        source = [replace(segment, trained=False) if isinstance(segment, Text) else segment for segment in laid[:start]]
        return [*source, *end], [*words, Text(tokenizer.eos_token, trained=True)]

    def supervised(self, labels: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """The decoder's step ``t`` predicts target ``t``."""
        if target is None:
            return labels.new_zeros(len(labels), 1, dtype=torch.bool), labels.new_zeros(0)
        rows = target != IGNORE
        return rows, target[rows]

    def logits(
        self, model: Any, embeddings: Tensor, mask: Tensor, rows: Tensor | None, target: Tensor | None, pad_id: int
    ) -> Tensor:
        """Scores of the decoder's steps ``[B, U, vocabulary]``; of the first step alone if there is no target."""
        logits = self._run(model, embeddings, mask, target, pad_id)
        return logits if rows is None else logits[rows]

    def hidden(
        self,
        model: Any,
        embeddings: Tensor,
        mask: Tensor,
        rows: Tensor,
        target: Tensor | None,
        pad_id: int,
        *,
        prune: bool,
        past: Layers | None = None,
    ) -> Tensor | None:
        """Nothing to prune: all that a decoder writes is labelled."""
        with handed_through(model) as seen:
            given = self._run(model, embeddings, mask, target, pad_id)
        return given[rows] if given is seen[0] else None

    def read(self, model: Any, embeddings: Tensor) -> Layers | None:
        """None: words that an encoder reads together with media see the media."""
        return None

    def _run(self, model: Any, embeddings: Tensor, mask: Tensor, target: Tensor | None, pad_id: int) -> Tensor:
        config = model.config
        start = getattr(config, "decoder_start_token_id", None)
        if start is None:
            raise LanguageModelError(
                f"{config.model_type}: expected config.decoder_start_token_id, with which the decoder begins, got None"
            )
        inputs = mask.new_full((len(embeddings), 1), int(start))
        if target is not None:
            inputs = torch.cat([inputs, target[:, :-1].masked_fill(target[:, :-1] == IGNORE, pad_id)], dim=1)
        output = model(inputs_embeds=embeddings, attention_mask=mask, decoder_input_ids=inputs, use_cache=False)
        logits: Tensor = output.logits
        return logits

    def states(self, model: Any, embeddings: Tensor, mask: Tensor) -> Tensor:
        """None: what is written has no states beside what is read."""
        raise LanguageModelError(
            f"{model.config.model_type}: states of signal tokens need a decoder-only language model, this is an "
            "encoder-decoder"
        )

    def written(self, ids: Tensor) -> Tensor:
        """Without the token that the decoder starts with."""
        return ids[:, 1:]


def wiring_of(model: Any) -> Wiring:
    """The wiring of a model of transformers; its config knows."""
    return EncoderDecoder() if model.config.is_encoder_decoder else DecoderOnly()


def _positions(mask: Tensor) -> Tensor:
    """Counted over real positions, so that padding on the left, on the right or inside gives the same numbers."""
    return (mask.long().cumsum(dim=1) - 1).clamp_(min=0)


def _appends_eos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself ends a text with EOS, as T5's does."""
    return bool(tokenizer("a").input_ids[-1:] == [tokenizer.eos_token_id])


def _last_answer(laid: Sequence[Segment]) -> tuple[int, list[Text]]:
    """Where the last answer starts, with what the template puts in front of it, and the words that somebody wrote."""
    stop = len(laid)
    while stop and not _is_answer(laid[stop - 1], literal=False):
        stop -= 1
    start = stop
    while start and _is_answer(laid[start - 1], literal=False):
        start -= 1
    words = [segment for segment in laid[start:stop] if isinstance(segment, Text)]
    while start and _is_answer(laid[start - 1], literal=True):
        start -= 1
    return start, words


def _is_answer(segment: Segment, *, literal: bool) -> bool:
    return isinstance(segment, Text) and segment.trained and segment.literal is literal
