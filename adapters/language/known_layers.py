"""Decoder layers whose inside is known, so that a faster way through them can be taken.

Classes are known by their full names: to import five families in order to recognise one would cost every start.
"""

from __future__ import annotations

from functools import partial
from types import NoneType
from typing import Any

__all__ = ["OPT", "Twice", "class_of", "decoder_layers", "is_known", "passes_on", "runs_twice"]


class Twice(partial[Any]):
    """A layer's own call, made again in the backward pass (:mod:`inlay.adapters.language.checkpointing`)."""


OPT = "transformers.models.opt.modeling_opt.OPTDecoderLayer"
_LIKE_LLAMA = tuple(
    f"transformers.models.{family.lower()}.modeling_{family.lower()}.{family}DecoderLayer"
    for family in ("Llama", "Mistral", "Qwen2", "Qwen3")
)


def decoder_layers(model: Any) -> Any:
    """The layers of a decoder-only model's stack; nothing where it keeps them elsewhere, or has an encoder too."""
    return () if model.config.is_encoder_decoder else getattr(model.get_decoder(), "layers", None) or ()


def class_of(layer: Any) -> str:
    """The full name of a layer's class."""
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


def is_known(model: Any, layer: Any) -> bool:
    """Whether a layer is LLaMA's, Mistral's, Qwen's or OPT's, without hook, sliding window or somebody else's call."""
    if layer._forward_hooks or layer._forward_pre_hooks or type(layer.__dict__.get("forward")) not in (NoneType, Twice):
        return False
    name = class_of(layer)
    return name == OPT or (name in _LIKE_LLAMA and not _window(model.config, layer.self_attn))


def runs_twice(model: Any) -> bool:
    """Whether a layer is run again in the backward pass."""
    return any(type(layer.__dict__.get("forward")) is Twice for layer in decoder_layers(model))


def passes_on(model: Any) -> bool:
    """Whether all layers are known, so that they hand on to their attention what the model is called with."""
    layers = decoder_layers(model)
    known = bool(layers) and all(is_known(model, layer) for layer in layers)
    return known and model.config._attn_implementation in ("sdpa", "eager")


def _window(config: Any, attention: Any) -> bool:
    """Mistral's window is the config's, Qwen's a layer's own."""
    return getattr(attention, "sliding_window", getattr(config, "sliding_window", None)) is not None
