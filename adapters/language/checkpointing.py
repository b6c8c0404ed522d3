"""Gradient checkpointing for a frozen language model: less memory for one more forward pass.

Chen et al., 2016, https://arxiv.org/abs/1604.06174. A layer keeps only its input, and runs again in the backward pass.
Transformers' own switch works in training mode only, and a frozen model is always in eval mode. The last layer is not
checkpointed: its backward pass comes first, so running it again would cost time and save no memory at the peak.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from inlay.adapters.language.decoder_layers import decoder_layers, replaced_calls
from inlay.adapters.language.occupancy import AttachError, Occupancy, occupancy_of

__all__ = ["is_recomputed", "recomputed"]


class _Checkpointed(partial[Any]):
    """Replaces the call of a layer, which then runs again in the backward pass."""


def is_recomputed(model: Any) -> bool:
    """Whether :func:`recomputed` is active for a model."""
    return any(isinstance(layer.__dict__.get("forward"), _Checkpointed) for layer in decoder_layers(model))


def recomputed(model: Any) -> AbstractContextManager[None]:
    """Checkpoint all layers but the last; loss and gradients do not change.

    Other calls and hooks of the layers, see :func:`~inlay.adapters.language.decoder_layers.replaced_calls`, run in both
    passes.

    Args:
        model: a decoder-only model.

    Raises:
        AttachError: in the backward pass, if the adapter of the forward pass is no longer attached.
    """
    config, occupancy = model.config.get_text_config(decoder=True), occupancy_of(model)
    layers = list(decoder_layers(model))[:-1]
    return replaced_calls(layers, lambda call: _Checkpointed(_run, call, config, occupancy))


def _run(forward: Any, config: Any, occupancy: Occupancy, *args: Any, **kwargs: Any) -> Any:
    attention = config._attn_implementation  # packed attention is switched off again before the backward pass
    holders = occupancy.holders

    def run(*args: Any, **kwargs: Any) -> Any:
        # The backward pass is outside of :meth:`Occupancy.call`, so the model is reserved for each layer that runs
        # again.
        with occupancy.call():
            if occupancy.holders != holders:
                raise AttachError(
                    "the adapter was swapped or detached between the forward and the backward pass of a step with "
                    "gradient checkpointing, which runs the layers again; call backward() first"
                )
            before, config._attn_implementation = config._attn_implementation, attention
            try:
                return forward(*args, **kwargs)
            finally:
                config._attn_implementation = before

    # No early stop: fused LoRA computes sibling linears together and returns them one by one.
    with set_checkpoint_early_stop(False):
        return checkpoint(run, *args, use_reentrant=False, **kwargs)
