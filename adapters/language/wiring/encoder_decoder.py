"""Encoder-decoder language models: the source goes to the encoder, the last answer is the target of the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.conversation.segments import Segment, Text
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.language.packing.loss_plan import LossPlan
from inlay.adapters.language.wiring.protocol import LanguageModelError

__all__ = ["EncoderDecoder"]


class EncoderDecoder:
    """The :class:`inlay.adapters.language.wiring.protocol.Wiring` of T5, Flan-T5, BART, ..."""

    def context(self, model: Any) -> int | None:
        """The number of positions that the model has embeddings for; None for T5's relative positions."""
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
        """The source is everything up to the last answer; the target is the text of the last answer and EOS.

        Text of the template around the last answer (a space, a newline, ``###``) is left out, because an
        encoder-decoder has its own start and end tokens.

        Raises:
            LanguageModelError: the tokenizer has no EOS, so the end of an answer cannot be trained.
        """
        if not tokenizer.eos_token:
            raise LanguageModelError(
                f"expected a tokenizer with an EOS token, which ends the target of an encoder-decoder, got "
                f"{type(tokenizer).__name__} without one; set tokenizer.eos_token"
            )
        end = [Text(tokenizer.eos_token)] if _appends_eos(tokenizer) else []
        if generation:
            return [*laid, *end], None
        start, words = _last_answer(laid)
        source = [replace(segment, trained=False) if isinstance(segment, Text) else segment for segment in laid[:start]]
        return [*source, *end], [*words, Text(tokenizer.eos_token, trained=True)]

    def supervised(self, labels: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Step ``t`` of the decoder predicts target ``t``."""
        if target is None:
            return labels.new_zeros(len(labels), 1, dtype=torch.bool), labels.new_zeros(0)
        rows = target != IGNORE
        return rows, target[rows]

    def plan(
        self, labels: Tensor, mask: Tensor, target: Tensor | None, branches: Sequence[Sequence[int]] = ()
    ) -> LossPlan:
        """The labelled steps of the decoder; the source is not packed."""
        return LossPlan.of_target(*self.supervised(labels, target))

    def run(
        self, model: Any, embeddings: Tensor, mask: Tensor | None, target: Tensor | None, pad_id: int, **more: Any
    ) -> Tensor:
        """Logits of the decoder's steps ``[B, U, vocabulary]``; without a target, of the first step alone."""
        config = model.config
        start = getattr(config, "decoder_start_token_id", None)
        if start is None:
            raise LanguageModelError(
                f"{config.model_type}: expected config.decoder_start_token_id, the first token of the decoder, got None"
            )
        inputs = torch.full((len(embeddings), 1), int(start), dtype=torch.long, device=embeddings.device)
        if target is not None:
            inputs = torch.cat([inputs, target[:, :-1].masked_fill(target[:, :-1] == IGNORE, pad_id)], dim=1)
        output = model(inputs_embeds=embeddings, attention_mask=mask, decoder_input_ids=inputs, use_cache=False, **more)
        logits: Tensor = output.logits
        return logits

    def states(self, model: Any, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Not available: the decoder's states are not at the positions of the input.

        Raises:
            LanguageModelError: always.
        """
        raise LanguageModelError(
            f"{model.config.model_type}: signal tokens need the hidden states of a decoder-only language model, this "
            "is an encoder-decoder"
        )

    def written(self, ids: Tensor) -> Tensor:
        """The ids without the decoder's start token."""
        return ids[:, 1:]


def _appends_eos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself puts EOS at the end of a text, as T5's does."""
    return bool(tokenizer("a").input_ids[-1:] == [tokenizer.eos_token_id])


def _last_answer(laid: Sequence[Segment]) -> tuple[int, list[Text]]:
    """The start of the last answer, including template text before it, and the answer's own text."""
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
