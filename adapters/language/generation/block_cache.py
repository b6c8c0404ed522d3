"""A KV cache in blocks: a step writes one position in place and copies nothing.

The layers of transformers' ``DynamicCache`` copy all keys and values in every step. A prompt that is read once for
several answers is copied once, into memory with space for the next positions.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

__all__ = ["BlockLayer", "repeat_cache", "select_rows"]

BLOCK = 64
"""Positions by which the memory grows."""


class BlockLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values with space for further positions, without gradients.

    Args:
        layer: a layer of a cache that was computed without gradients; keys and values ``[B, heads, T, width]``.
        repeats: copies of each row, one after the other.
    """

    def __init__(self, layer: DynamicLayer, repeats: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        keys, values = cast(Tensor, layer.keys), cast(Tensor, layer.values)
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.length = keys.shape[-2]
        self.blocks = [_with_room(held, repeats) for held in (keys, values)]
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values ``[B, heads, n, width]``; returns all keys and values."""
        begin, self.length = self.length, self.length + key_states.shape[-2]
        if self.length > self.blocks[0].shape[-2]:
            more = max(BLOCK, key_states.shape[-2])
            self.blocks = [torch.cat([held, _room(held, more)], dim=-2) for held in self.blocks]
        for held, new in zip(self.blocks, (key_states, value_states), strict=True):
            held[..., begin : self.length, :] = new
        return self._show()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows."""
        self.blocks = [held.index_select(0, indices.to(held.device)) for held in self.blocks]
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (held[..., : self.length, :] for held in self.blocks)
        return self.keys, self.values


def repeat_cache(cache: DynamicCache, repeats: int) -> None:
    """Repeat each row of a cache, one layer after the other so that the memory does not hold both at once."""
    layers: list[Any] = cache.layers
    for index, layer in enumerate(layers):
        if type(layer) is DynamicLayer:
            layers[index] = BlockLayer(layer, repeats)
        else:
            layer.batch_repeat_interleave(repeats)


def select_rows(cache: DynamicCache, rows: Tensor) -> None:
    """Keep some rows ``[n]`` of a cache."""
    layers: list[Any] = cache.layers
    for layer in layers:
        layer.batch_select_indices(rows)


def _with_room(held: Tensor, repeats: int) -> Tensor:
    whole = held.new_empty(len(held) * repeats, *held.shape[1:-2], held.shape[-2] + BLOCK, held.shape[-1])
    whole.view(len(held), repeats, *whole.shape[1:])[..., : held.shape[-2], :] = held[:, None]
    return whole


def _room(held: Tensor, positions: int) -> Tensor:
    return held.new_empty(*held.shape[:-2], positions, held.shape[-1])
