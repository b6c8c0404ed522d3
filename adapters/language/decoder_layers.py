"""The decoder layers of a language model, found by their number and not by the names that a family gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import nn

__all__ = ["decoder_layers"]


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
