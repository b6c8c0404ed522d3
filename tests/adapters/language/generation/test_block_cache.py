"""A cache that grows in blocks holds the keys and values of transformers' own."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicSlidingWindowLayer

from inlay.adapters.language.generation.block_cache import BLOCK, BlockLayer, repeat_cache, select_rows


def states(rows: int, positions: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(rows, 2, positions, 4, generator=generator) for _ in range(2))  # type: ignore[return-value]


def filled() -> DynamicCache:
    cache = DynamicCache()
    cache.update(*states(2, 5, 0), 0)
    return cache


def test_repeated_steps_and_selected_rows_equal_transformers() -> None:
    own, theirs = filled(), filled()
    repeat_cache(own, 3)
    theirs.batch_repeat_interleave(3)
    kept = torch.tensor([0, 2, 5])
    for step in range(BLOCK + 3):  # beyond one block
        rows = 6 if step < 4 else 3
        if step == 4:
            select_rows(own, kept)
            theirs.batch_select_indices(kept)
        new = states(rows, 1, step + 1)
        for found, wanted in zip(own.update(*new, 0), theirs.update(*new, 0), strict=True):
            torch.testing.assert_close(found, wanted, atol=0, rtol=0)
    assert own.get_seq_length() == theirs.get_seq_length() == 5 + BLOCK + 3


def test_a_step_copies_nothing() -> None:
    cache = filled()
    repeat_cache(cache, 2)
    layer = cache.layers[0]
    assert isinstance(layer, BlockLayer)
    before = layer.blocks[0].data_ptr()
    keys, _ = cache.update(*states(4, 1, 1), 0)
    assert keys.data_ptr() == before == layer.blocks[0].data_ptr()


def test_other_layers_are_repeated_by_their_own_method() -> None:
    cache = DynamicCache()
    layer = DynamicSlidingWindowLayer(sliding_window=3)
    cache.layers = [layer]
    cache.update(*states(2, 5, 0), 0)
    repeat_cache(cache, 2)
    assert cache.layers[0] is layer
    assert layer.keys is not None
    assert layer.keys.shape[0] == 4
