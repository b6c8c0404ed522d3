"""Test whether a language model can be run from embeddings, as media require, by running it.

Some models use token ids for more than the input embeddings (embeddings for each layer in Gemma 3n, routing by hash in
DeepSeek-V4), scale the embeddings after the table (CTRL), or accept only ids. Their logits from embeddings would be
wrong without any error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.language.wiring.protocol import LanguageModelError

__all__ = ["accept_embeddings", "check_embeddings"]

_IDS = 4
"""Tokens of the test."""


def check_embeddings(model: Any) -> None:
    """Compare the logits of a few tokens from their ids with those from their embeddings.

    Args:
        model: a language model of transformers, frozen and in eval mode.

    Raises:
        LanguageModelError: the model does not accept embeddings, fails with them, or gives other logits.
    """
    name = type(model).__name__
    accept_embeddings(model)
    if "inputs_embeds" not in _parameters(model.prepare_inputs_for_generation):
        raise LanguageModelError(
            f"{name} does not generate from embeddings (inputs_embeds), which adapters need; choose another language "
            "model"
        )
    table = getattr(model.get_input_embeddings(), "weight", None)
    if not isinstance(table, Tensor) or table.dim() != 2:
        raise LanguageModelError(f"{name} has no single table of input embeddings, as media need; choose another LLM")
    if table.is_meta:  # nothing can be computed
        return
    ids = torch.arange(_IDS, device=table.device)[None] * max(1, len(table) // _IDS) % len(table)
    further: dict[str, Any] = {"use_cache": False}
    if model.config.is_encoder_decoder:
        further["decoder_input_ids"] = ids
    with torch.no_grad():
        try:
            wanted = model(input_ids=ids, **further).logits
        except Exception:  # the model does not run here at all, also not from ids
            return
        embeddings = model.get_input_embeddings()(ids)
        try:
            found = model(inputs_embeds=embeddings, **further).logits
            # Gemma 4 searches the token of each embedding, and those of media have none.
            model(inputs_embeds=(embeddings + embeddings.roll(1, 1)) / 2, **further)
        except Exception as error:
            raise LanguageModelError(
                f"{name} fails with embeddings instead of token ids "
                f"({type(error).__name__}: {' '.join(str(error).split())[:120]}), so it cannot take media; choose "
                "another language model"
            ) from error
    tolerance = max(1e-4, 8 * torch.finfo(found.dtype).eps)
    finite = wanted.isfinite()
    gap, scale = (found - wanted)[finite].abs(), wanted[finite].abs()
    if gap.numel() and not bool(gap.amax() <= tolerance * scale.amax()):
        raise LanguageModelError(
            f"{name} computes other logits from embeddings than from the ids of the same tokens (it uses ids for more "
            "than input embeddings), so it cannot take media; choose another language model"
        )


def accept_embeddings(model: Any) -> None:
    """Make transformers' ``generate`` accept embeddings for models that pass them on in ``**kwargs``.

    ``generate`` looks for the argument ``inputs_embeds`` of ``prepare_inputs_for_generation``. Bamba, Falcon-H1,
    Nemotron-H, Zamba and whole vision-language models pass ``**kwargs`` on to transformers' own method.
    """
    prepare = model.prepare_inputs_for_generation
    known = _parameters(prepare)
    keywords = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    if "inputs_embeds" in known or not keywords or "inputs_embeds" not in _parameters(type(model).forward):
        return
    code = getattr(prepare, "__code__", None)
    if code is not None and "super" in code.co_names and "prepare_inputs_for_generation" in code.co_names:
        model.prepare_inputs_for_generation = _Named(model)


class _Named:
    """A model's own method with the argument ``inputs_embeds`` in its signature; copied together with the model."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, input_ids: Tensor, inputs_embeds: Tensor | None = None, **kwargs: Any) -> dict[str, Any]:
        """The inputs of the next forward pass."""
        own: Callable[..., dict[str, Any]] = type(self.model).prepare_inputs_for_generation
        return own(self.model, input_ids, inputs_embeds=inputs_embeds, **kwargs)


def _parameters(function: Callable[..., Any]) -> Any:
    return inspect.signature(function).parameters
