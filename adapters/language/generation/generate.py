"""Generation from embeddings with transformers' ``generate``: limits are checked before, ends are determined after.

A repetition penalty applies to new tokens only, since the model is given embeddings and no ids of the prompt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor, StoppingCriteriaList

from inlay.adapters.language.generation.stopping import FinishReason, StopText, ended, single_tokens
from inlay.adapters.language.wiring.protocol import LanguageModelError, Wiring
from inlay.hub.errors import InlayError

__all__ = ["MAX_NEW_TOKENS", "Generation", "generate", "token_limit"]

MAX_NEW_TOKENS = 512
"""Default limit of new tokens."""
_TAKEN = {"inputs", "input_ids", "inputs_embeds", "attention_mask", "eos_token_id", "pad_token_id"}
_STRUCTURED = (
    "return_dict_in_generate",
    "output_scores",
    "output_logits",
    "output_attentions",
    "output_hidden_states",
)


@dataclass(frozen=True)
class Generation:
    """New tokens of a batch."""

    rows: list[list[int]]
    """New ids of each row up to its end, a stop token included; ``num_return_sequences`` rows per conversation."""
    finish: list[FinishReason]
    """The reason why each row ended."""


@torch.no_grad()
def generate(
    model: Any,
    tokenizer: Any,
    wiring: Wiring,
    embeddings: Tensor,
    mask: Tensor,
    *,
    ends: Sequence[int],
    stop: Sequence[str],
    pad_id: int,
    max_new_tokens: int | None = None,
    **options: Any,
) -> Generation:
    """Continue each row; see :meth:`inlay.adapters.language.model.LanguageModel.generate`.

    Args:
        model: a model of transformers.
        tokenizer: its tokenizer.
        wiring: the wiring of the model.
        embeddings: ``[B, T, width]``, padded on the left.
        mask: ``[B, T]``.
        ends: stop tokens.
        stop: stop texts.
        pad_id: a valid id for rows that have ended.
        max_new_tokens: limit on new tokens; fewer if the context ends before.
        options: other options of transformers' ``generate``.

    Raises:
        LanguageModelError: options that the model cannot be called with, or a prompt that fills the context.
    """
    _check_options(model, options)
    if "max_length" in options:
        raise LanguageModelError(
            "max_length: a model that reads embeddings counts new tokens only; give max_new_tokens"
        )
    limit = token_limit(MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens, model, wiring, mask)
    every = sorted({*ends, *single_tokens(tokenizer, stop)})
    texts = StopText(tokenizer, stop) if stop else None
    criteria = [*([texts] if texts else []), *(options.pop("stopping_criteria", None) or ())]
    configured = getattr(model.generation_config, "repetition_penalty", None)
    given = options.pop("repetition_penalty", None)
    penalty = float(given if given is not None else configured or 1.0)
    # transformers would skip as many new tokens as a row has left padding, as if they were ids of the prompt.
    penalties = [RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1.0 else []
    try:
        ids = model.generate(
            inputs_embeds=embeddings,
            attention_mask=mask,
            eos_token_id=every or None,
            pad_token_id=pad_id,
            stopping_criteria=StoppingCriteriaList(criteria) if criteria else None,
            repetition_penalty=1.0,
            logits_processor=LogitsProcessorList([*penalties, *(options.pop("logits_processor", None) or ())]),
            max_new_tokens=limit,
            **options,
        )
    except InlayError:
        raise
    except (ValueError, TypeError, ArithmeticError) as error:
        if getattr(options.get("streamer"), "raised", None) is error:  # raised by the caller
            raise
        raise LanguageModelError(
            f"{model.config.model_type}: transformers' generate failed with these embeddings and options: {error}"
        ) from error
    found = [ended(row, every, texts) for row in wiring.written(ids).tolist()]
    return Generation([row for row, _ in found], [reason for _, reason in found])


def _check_options(model: Any, options: Mapping[str, Any]) -> None:
    """Raise for options that change the kind of result, or that the layout and the conversation determine."""
    problem = ""
    penalty = options.get("repetition_penalty")
    if taken := sorted(_TAKEN & set(options)):
        problem = f"{', '.join(taken)} cannot be given: the layout and the conversation determine them"
    elif penalty is not None and not (isinstance(penalty, (int, float)) and 0 < penalty < math.inf):
        problem = f"repetition_penalty: expected a positive number, got {penalty!r}"
    elif asked := [name for name in _STRUCTURED if options.get(name)]:
        problem = f"{asked[0]}: token ids alone are returned; leave it out"
    for name in ("stopping_criteria", "logits_processor"):
        if not isinstance(options.get(name) or (), (list, tuple)):
            problem = f"{name}: expected a list, got {type(options[name]).__name__}"
    if problem:
        raise LanguageModelError(f"{model.config.model_type}: {problem}")


def token_limit(wanted: object, model: Any, wiring: Wiring, mask: Tensor) -> int:
    """The limit on new tokens, at most the rest of the context of a decoder-only model.

    Args:
        wanted: the caller's limit.
        model: a model of transformers.
        wiring: the wiring of the model.
        mask: ``[B, T]``, the mask of the prompts.

    Raises:
        LanguageModelError: the limit is not a whole number from 1 on, or a prompt fills the context.
    """
    if type(wanted) is not int or wanted < 1:
        raise LanguageModelError(f"max_new_tokens: expected a whole number from 1 on, got {wanted!r}")
    context = wiring.context(model)
    if context is None or not mask.numel():
        return wanted
    if model.config.is_encoder_decoder:
        return min(wanted, context)
    longest = int(mask.sum(dim=1).max())
    if longest >= context:
        raise LanguageModelError(
            f"{model.config.model_type}: a prompt of {longest} positions leaves no room for an answer in the context "
            f"of {context}; shorten the text, or use an LLM with a longer context"
        )
    return min(wanted, context - longest)
