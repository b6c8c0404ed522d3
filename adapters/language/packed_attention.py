"""Padding-free passes: the real positions of a batch as one sequence, in which each conversation reads itself alone.

A padded batch pays for its longest row in every layer. Here the rows are laid end to end, ``[1, N, width]`` with ``N``
real positions; everything but attention works position by position and does not notice. Attention is taken conversation
by conversation (on a GPU in one kernel of variable lengths), positions are counted anew in each. Loss and gradients are
those of the padded batch. TRL and others pack texts this way and refuse pictures; here media are embeddings like any
other before the model sees them (NaViT packs pictures themselves: Dehghani et al., 2023, https://arxiv.org/abs/2307.06304).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

from inlay.adapters.language.known_layers import passes_on

__all__ = ["Packed", "by_row", "packed_attention", "repeated"]

NAME = "inlay_packed"
"""Of the attention, in the registry of transformers."""
WORTH = 0.1
"""Share of padding from which it pays on a CPU, which calls attention once a row: with 3 % of a small model's positions
padded the calls cost 4 %, with 35 % the step is 1.5 times faster. A GPU has one kernel for all rows."""


@dataclass(frozen=True, eq=False)
class Packed:
    """Where the real positions of a padded batch stand in one sequence.

    Args:
        mask: ``[B, T]``, 1 where there is a token; at least one in every row.
        begun: positions of a past that all rows share, in front of these.

    Example:
        >>> packed = Packed(torch.tensor([[1, 1, 0], [1, 1, 1]]))
        >>> packed.flat(torch.tensor([[5, 6, 0], [7, 8, 9]])).tolist(), packed.lengths
        ([[5, 6, 7, 8, 9]], [2, 3])
    """

    mask: Tensor
    begun: int = 0

    @cached_property
    def lengths(self) -> list[int]:
        """Of the rows."""
        found: list[int] = self.mask.sum(dim=1).tolist()
        return found

    @cached_property
    def positions(self) -> Tensor:
        """``[1, N]``, counted anew in each row."""
        return self.flat(self.mask.long().cumsum(dim=1) - 1 + self.begun)

    @cached_property
    def starts(self) -> Tensor:
        """``[B + 1]`` int32: where each row begins, and the end of the last."""
        return F.pad(self.mask.sum(dim=1).cumsum(dim=0), (1, 0)).to(torch.int32)

    @property
    def pays(self) -> bool:
        """Whether there is enough padding to be rid of."""
        share = 1 - sum(self.lengths) / self.mask.numel()
        return share >= WORTH or (share > 0 and self.mask.is_cuda)

    def flat(self, values: Tensor) -> Tensor:
        """``[B, T, ...]`` -> ``[1, N, ...]``."""
        return values[self.mask.bool()][None]

    @property
    def arguments(self) -> dict[str, Any]:
        """What a model of transformers hands on to its attention; the names are those of its flash attention."""
        longest = max(self.lengths)
        return {
            "cu_seq_lens_q": self.starts,
            "cu_seq_lens_k": self.starts,
            "max_length_q": longest,
            "max_length_k": longest,
        }


@contextmanager
def packed_attention(model: Any) -> Iterator[bool]:
    """While this lasts, a model attends within the rows of a :class:`Packed`.

    Returns:
        Whether it does: others than LLaMA's, Mistral's, Qwen's and OPT's layers, and those with a sliding window, may
        not hand on where the rows begin.
    """
    config = model.config
    if not passes_on(model):
        yield False
        return
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield True
    finally:
        config._attn_implementation = before


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    **_: Any,
) -> tuple[Tensor, None]:
    """``[1, heads, N, n]``, twice ``[1, kv heads, past + N, n]`` -> ``[1, N, heads, n]``; a frozen model drops nothing.

    The past is that of every row, and stands in front once.
    """
    if query.is_cuda and query.dtype in (torch.float16, torch.bfloat16):
        return _kernel(query, key, value, scaling, cu_seq_lens_q, max_length_q), None
    lengths, heads = cu_seq_lens_q.diff().tolist(), query.shape[1]
    rows = zip(
        query.split_with_sizes(lengths, dim=2),
        by_row(repeated(key, heads), lengths),
        by_row(repeated(value, heads), lengths),
        strict=True,
    )
    read = []
    for q, k, v in rows:
        own, all_of_it = q.shape[2], k.shape[2]
        begun = all_of_it - own
        seen = None if not begun else q.new_ones(own, all_of_it, dtype=torch.bool).tril_(begun)
        read.append(F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=not begun, scale=scaling))
    return torch.cat(read, dim=2).transpose(1, 2), None


def _kernel(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, starts: Tensor, longest: int) -> Tensor:
    """One launch for all rows; causal there means that the last query sees the last key."""
    from torch.nn.attention.varlen import varlen_attn

    begun, key_starts = key.shape[2] - query.shape[2], starts
    if begun:
        lengths = starts.diff().tolist()
        key, value = (torch.cat(by_row(states, lengths), dim=2) for states in (key, value))
        key_starts = starts + begun * torch.arange(len(starts), dtype=starts.dtype, device=starts.device)
    flat = (states[0].transpose(0, 1) for states in (query, key, value))
    attend: Any = varlen_attn
    read: Tensor = attend(
        *flat, starts, key_starts, longest, longest + begun, scale=scaling, window_size=(-1, 0), enable_gqa=True
    )
    return read[None]


def by_row(states: Tensor, lengths: list[int]) -> list[Tensor]:
    """``[1, heads, past + N, n]`` of keys or values -> those that each row reads, ``[1, heads, past + length, n]``."""
    begun = states.shape[2] - sum(lengths)
    if not begun:
        return list(states.split_with_sizes(lengths, dim=2))
    past, *own = states.split_with_sizes([begun, *lengths], dim=2)
    return [torch.cat([past, row], dim=2) for row in own]


def repeated(states: Tensor, heads: int) -> Tensor:
    """``[B, kv heads, T, n]`` -> ``[B, heads, T, n]``: each head of keys or values for its group of queries."""
    groups = heads // states.shape[1]
    return states if groups == 1 else states.repeat_interleave(groups, dim=1)


AttentionInterface.register(NAME, _attend)
