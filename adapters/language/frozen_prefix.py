"""Words in front of everything that trains: their keys and values are constants, and are computed once.

What a causal model makes of a system sentence depends on the frozen weights alone, as long as neither LoRA nor rows of
new tokens train. So the keys and values of the words with which all rows of a batch begin are kept, and these
positions are neither in the forward nor in the backward pass. MiniGPT-4's and NExT-GPT's first stages are of this kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn
from transformers import DynamicCache

from inlay.adapters.llm_parts.lora import LoraPart

__all__ = ["WORTH", "Constant", "Constants", "Layers", "cache_of", "constant_of"]

Layers: TypeAlias = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values ``[1, heads, n, width]`` of each layer."""
WORTH = 4
"""Positions from which it pays to put keys and values of a past in front of those of each step."""
KEPT = 4
"""Beginnings that are kept; stages and data sets may each have their own."""


@dataclass(frozen=True)
class Constant:
    """Words with which all rows begin, and the state of what could change what the model makes of them."""

    ids: tuple[int, ...]
    stamp: tuple[object, ...]


def constant_of(ids: tuple[int, ...], lora: LoraPart | None, tokens: nn.Module | None) -> Constant | None:
    """The beginning of a batch as a constant; None where it is none, or too short to matter.

    Args:
        ids: with which all rows begin.
        lora: with which the LLM reads, if there is one; with dropout it reads differently each time.
        tokens: rows of new tokens, if there are some.
    """
    if len(ids) < WORTH:
        return None
    parameters = [p for module in (lora, tokens) if module is not None for p in module.parameters()]
    drops = lora is not None and lora.training and lora.config.dropout > 0
    if drops or any(p.requires_grad for p in parameters):
        return None
    # A swap, or a step in an earlier stage, gives other numbers.
    return Constant(ids, tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in parameters))


class Constants:
    """Keys and values of the last few beginnings."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Layers] = {}

    def get(self, constant: Constant, embeddings: Tensor, read: Callable[[Tensor], Layers | None]) -> Layers | None:
        """Those of one beginning.

        Args:
            constant: which.
            embeddings: ``[1, n, width]`` of its words.
            read: what the model makes of them; None if it keeps no keys and values.
        """
        key = (constant, embeddings.device, embeddings.dtype)
        if key not in self._kept:
            layers = read(embeddings)
            if layers is None:
                return None
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = layers
        return self._kept[key]


def cache_of(layers: Layers, rows: int) -> Any:
    """A past for a call of the model: the same for all rows."""
    cache = DynamicCache()
    for index, (keys, values) in enumerate(layers):
        cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
    return cache
