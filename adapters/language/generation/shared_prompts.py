"""Attention of several answers to the same prompt, with one copy of the prompt's keys and values.

When ``G`` answers to a prompt are generated at once, a plain KV cache has ``G`` copies of the prompt, all of which are
read in every step. Here the keys and values of a prompt are stored once. In a step the queries of its answers are the
rows of one matrix product with them, each answer attends to its own tokens in a second product, and one softmax covers
both (Hydragen: Juravsky et al., 2024, https://arxiv.org/abs/2402.05099).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import DynamicLayer

from inlay.adapters.language.generation.block_cache import BlockLayer
from inlay.adapters.language.packing.packed_attention import ignored, use_attention
from inlay.adapters.language.wiring.protocol import LanguageModelError

__all__ = ["SharedPrompts", "shared_prompts"]

NAME = "inlay_shared_prompts"
"""Name of the attention in the registry of transformers."""


@dataclass(eq=False)
class SharedPrompts:
    """Keys and values of ``B`` prompts, and the answers that read them."""

    keys: list[Tensor]
    """Keys of each layer, ``[B, kv heads, T, n]``."""
    values: list[Tensor]
    """Values of each layer, ``[B, kv heads, T, n]``."""
    padding: Tensor
    """``[B, 1, 1, T]`` bool, True where there is no token."""
    count: int
    """Answers to each prompt."""
    place: Tensor
    """``[R]``, the index of each answer among all ``B * count``."""

    @classmethod
    def of(cls, cache: DynamicCache, mask: Tensor, count: int) -> SharedPrompts:
        """Move the prompts out of a cache, whose layers then contain only the tokens of the answers.

        Args:
            cache: the KV cache of the prompts.
            mask: ``[B, T]``, 1 where there is a token.
            count: answers to each prompt.

        Raises:
            LanguageModelError: the cache has a layer of another kind, such as one with a window.
        """
        layers: list[Any] = cache.layers
        if other := {type(layer).__name__ for layer in layers if type(layer) is not DynamicLayer}:
            raise LanguageModelError(f"expected layers of the kind DynamicLayer in the cache, got {', '.join(other)}")
        keys, values = [layer.keys for layer in layers], [layer.values for layer in layers]
        for index, layer in enumerate(layers):
            layer.keys, layer.values = keys[index][..., :0, :], values[index][..., :0, :]
            layers[index] = BlockLayer(layer, count)
        place = torch.arange(len(mask) * count, device=mask.device)
        return cls(keys, values, ~mask.bool()[:, None, None], count, place)

    def keep(self, rows: Tensor) -> None:
        """Keep only some answers ``[n]``; a prompt without answers is removed."""
        prompt, place = self.place[rows] // self.count, self.place[rows] % self.count
        left, prompt = torch.unique(prompt, return_inverse=True)
        self.place = prompt * self.count + place
        if len(left) < len(self.padding):
            self.keys = [held.index_select(0, left) for held in self.keys]
            self.values = [held.index_select(0, left) for held in self.values]
            self.padding = self.padding.index_select(0, left)

    def by_prompt(self, rows: Tensor) -> Tensor:
        """``[R, kv heads, each, n]`` -> ``[B, kv heads, count * each, n]``; zeros for removed answers."""
        every, (heads, each, width) = len(self.padding) * self.count, rows.shape[1:]
        if len(rows) < every:
            rows = rows.new_zeros(every, heads, each, width).index_copy(0, self.place, rows)
        grid = rows.reshape(-1, self.count, heads, each, width).transpose(1, 2)
        return grid.reshape(-1, heads, self.count * each, width)

    def by_answer(self, grid: Tensor) -> Tensor:
        """``[B, kv heads, count * each, n]`` -> ``[R, kv heads, each, n]``."""
        prompts, heads, _, width = grid.shape
        rows = grid.reshape(prompts, heads, self.count, -1, width).transpose(1, 2).flatten(0, 1)
        return rows if len(rows) == len(self.place) else rows.index_select(0, self.place)


@contextmanager
def shared_prompts(model: Any, prompts: SharedPrompts) -> Iterator[dict[str, Any]]:
    """Make a model attend to shared prompts inside the context.

    Args:
        model: a decoder for which :func:`~inlay.adapters.language.packing.packed_attention.refusal` is empty.
        prompts: the prompts, for all layers.

    Yields:
        Keyword arguments for the model, which it passes on to its attention.
    """
    with use_attention(model, NAME):
        yield {"attention_mask": None, "shared": prompts}


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    shared: SharedPrompts,
    **others: Any,
) -> tuple[Tensor, None]:
    """``[R, heads, 1, n]``, twice ``[R, kv heads, S, n]`` -> ``[R, 1, heads, n]``; scores and softmax in float32."""
    if unknown := ignored(others):
        raise LanguageModelError(f"attention to shared prompts has no argument {', '.join(unknown)}")
    rows, heads, _, width = query.shape
    own = query.reshape(rows, key.shape[1], -1, width)
    keys, values = shared.keys[module.layer_idx], shared.values[module.layer_idx]
    far = (shared.by_prompt(own) @ keys.transpose(-1, -2)).float().masked_fill(shared.padding, float("-inf"))
    near = (own @ key.transpose(-1, -2)).float()
    scores = torch.cat([shared.by_answer(far), near], dim=-1) * (width**-0.5 if scaling is None else scaling)
    weights = scores.softmax(dim=-1).to(value.dtype)
    begin = keys.shape[-2]
    read = shared.by_answer(shared.by_prompt(weights[..., :begin]) @ values) + weights[..., begin:] @ value
    return read.reshape(rows, 1, heads, -1), None


AttentionInterface.register(NAME, _attend)
