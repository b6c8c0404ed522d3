"""The decoder layers of a language model, found by their number and not by the names that a family gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from torch import nn

__all__ = ["decoder_layers", "replaced_calls"]


def decoder_layers(model: Any) -> Sequence[nn.Module]:
    """The layers of a decoder-only model, in order; none for an encoder-decoder.

    Families call the list ``layers``, ``h`` or ``blocks``. It is the outermost module list of the decoder that has
    ``num_hidden_layers`` entries.
    """
    if model.config.is_encoder_decoder:
        return ()
    count = int(model.config.get_text_config(decoder=True).num_hidden_layers)
    lists = (child for child in model.get_decoder().modules() if isinstance(child, nn.ModuleList))
    return cast("Sequence[nn.Module]", next((found for found in lists if len(found) == count), ()))


@contextmanager
def replaced_calls(layers: Sequence[nn.Module], call_of: Callable[[Any], Any]) -> Iterator[None]:
    """Another ``forward`` for each layer object; afterwards each layer has again the one that it had.

    Hooks on the layers, and a ``forward`` that another library set on a layer object, keep working.

    Args:
        layers: the layers.
        call_of: the ``forward`` of a layer -> the one to use instead.
    """
    before, calls = [layer.__dict__.get("forward") for layer in layers], [call_of(layer.forward) for layer in layers]
    for layer, call in zip(layers, calls, strict=True):
        layer.__dict__["forward"] = call
    try:
        yield
    finally:
        for layer, call in zip(layers, before, strict=True):
            del layer.__dict__["forward"]
            if call is not None:
                layer.__dict__["forward"] = call
