"""Activation recompute (gradient checkpointing) for a frozen language model: less memory, one more forward pass.

Chen et al., 2016, https://arxiv.org/abs/1604.06174. A layer keeps its input alone, and runs again when its gradient is
due. Transformers' own switch acts in training mode only, and a frozen model never is in it. The last layer is left as
it is: at labelled positions alone (:mod:`inlay.adapters.language.last_layer`) it keeps little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from inlay.adapters.language.known_layers import Twice, decoder_layers

__all__ = ["can_recompute", "recomputed"]


def can_recompute(model: Any) -> bool:
    """Whether there are layers to run again: those of a decoder-only model."""
    return bool(decoder_layers(model))


@contextmanager
def recomputed(model: Any) -> Iterator[None]:
    """While this lasts, all layers but the last keep their input alone; loss and gradients are the same.

    Args:
        model: of :func:`can_recompute`.
    """
    layers = list(decoder_layers(model))[:-1]
    for layer in layers:
        layer.__dict__["forward"] = Twice(_twice, layer, model.config)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["forward"]


def _twice(layer: Any, config: Any, *args: Any, **kwargs: Any) -> Any:
    attention = config._attn_implementation  # which may be another one by the time of the backward pass

    def run(*args: Any, **kwargs: Any) -> Any:
        before, config._attn_implementation = config._attn_implementation, attention
        try:
            return type(layer).forward(layer, *args, **kwargs)
        finally:
            config._attn_implementation = before

    # To its end: fused LoRA linears that share an input are computed together and fetched one by one.
    with set_checkpoint_early_stop(False):
        return checkpoint(run, *args, use_reentrant=False, **kwargs)
