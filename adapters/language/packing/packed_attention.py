"""Packed attention: the real positions of a padded batch as one sequence, in which each row attends only to itself.

A padded batch costs the length of its longest row in every layer. Here the rows are concatenated, ``[1, N, width]``
with ``N`` real positions. All modules except attention work position by position and are not affected. Attention is
computed row by row (on a GPU in one variable-length kernel), and positions start from 0 in each row. Loss and gradients
are those of the padded batch. Media are ordinary embeddings at this point (NaViT packs the pictures themselves:
Dehghani et al., 2023, https://arxiv.org/abs/2307.06304).

A row may have branches: several continuations of one prefix, such as the chosen and the rejected answer to a question
about a picture. Each branch attends to the prefix and to itself, and its positions continue those of the prefix, so the
prefix is computed once and its gradient is the sum over the branches. The mask is that of tree attention in decoding
(Cai et al., 2024, https://arxiv.org/abs/2401.10774).

Packing is used for a model if it passes keyword arguments on to transformers' attention interface, and if the result
on a tiny input equals that of the padded batch, see :mod:`inlay.adapters.language.fast_paths`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

__all__ = ["Packed", "ignored", "packed_attention", "refusal", "use_attention"]

NAME = "inlay_packed"
"""Name of the attention in the registry of transformers."""
WORTH = 0.1
"""Share of padding from which packing is faster if attention is called row by row: with 3 % padding a small model's
step takes 4 % longer, with 35 % it is 1.5 times faster. A GPU kernel takes all rows at once."""
_HARMLESS = frozenset(
    {"dropout", "is_causal", "position_ids", "cache_position", "use_cache", "output_attentions", "cu_seq_lens_k"}
    | {"max_length_k", "past_key_values", "position_embeddings", "output_router_logits", "return_dict"}
)
"""Arguments of attention without effect in a causal pass of a frozen model without a cache."""


@dataclass(frozen=True, eq=False)
class Packed:
    """The real positions of a padded batch as one sequence. Create it on the CPU, then move it.

    Example:
        >>> packed = Packed.of(torch.tensor([[1, 1, 0], [1, 1, 1]]))
        >>> packed.flat(torch.tensor([[5, 6, 0], [7, 8, 9]])).tolist(), packed.lengths.tolist()
        ([[5, 6, 7, 8, 9]], [2, 3])
    """

    real: Tensor
    """``[N]``, the real positions in the flattened batch ``[B * T]``."""
    positions: Tensor
    """``[1, N]``, position ids that start from 0 in each row."""
    starts: Tensor
    """``[B + 1]`` int32: the start of each row, and the end of the last."""
    lengths: Tensor
    """``[B]``; stays on the CPU, so that reading it never waits for a device."""
    longest: int
    """Positions of the longest row."""
    padding: float
    """Share of positions that are padding."""
    branches: tuple[tuple[int, Tensor] | None, ...] = ()
    """For each row with branches the length ``P`` of its prefix, and the attention mask ``[L - P, L]`` bool of the
    positions after the prefix. Empty if no row has branches."""

    @classmethod
    def of(cls, mask: Tensor, branches: Sequence[Sequence[int]] = ()) -> Packed:
        """Build it from the mask ``[B, T]`` on the CPU, 1 where there is a token.

        Args:
            mask: the mask of the padded batch.
            branches: for each row the lengths of its prefix and of its branches; empty for a row without branches.
        """
        lengths = mask.sum(dim=1)
        real = mask.flatten().nonzero().flatten()
        counted = mask.long().cumsum(dim=1) - 1
        trees: list[tuple[int, Tensor] | None] = []
        for row, pieces in enumerate(branches):
            trees.append(_tree(pieces) if pieces else None)
            start = sum(pieces[:1])
            for length in pieces[1:]:
                counted[row, start : start + length] = torch.arange(length) + pieces[0]
                start += length
        starts = F.pad(lengths.cumsum(dim=0), (1, 0)).to(torch.int32)
        share = 1 - len(real) / max(1, mask.numel())
        return cls(real, counted.flatten()[real][None], starts, lengths, int(lengths.max()), share, tuple(trees))

    def to(self, device: torch.device) -> Packed:
        """The same on another device; the lengths stay on the CPU."""
        real, positions, starts = (tensor.to(device) for tensor in (self.real, self.positions, self.starts))
        branches = tuple(None if tree is None else (tree[0], tree[1].to(device)) for tree in self.branches)
        return replace(self, real=real, positions=positions, starts=starts, branches=branches)

    def pays(self, device: torch.device, dtype: torch.dtype) -> bool:
        """Whether packing pays for queries of a dtype: the batch has branches, or enough padding."""
        return bool(self.branches) or self.padding >= WORTH or (self.padding > 0 and _has_kernel(device, dtype))

    def flat(self, values: Tensor) -> Tensor:
        """``[B, T, ...]`` -> ``[1, N, ...]``."""
        return values.flatten(0, 1).index_select(0, self.real)[None]

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for the model, which passes them on to its attention; named as for flash attention."""
        return {
            "cu_seq_lens_q": self.starts,
            "cu_seq_lens_k": self.starts,
            "max_length_q": self.longest,
            "max_length_k": self.longest,
            "row_lengths": self.lengths,
            "row_branches": self.branches,
        }


def refusal(model: Any) -> str:
    """The reason why a model's configuration rules out packing; empty if there is none.

    Windows and chunks are longer than the input of the test, which would not detect them.
    """
    config = model.config.get_text_config(decoder=True)
    if model.config.is_encoder_decoder:
        return "an encoder-decoder"
    kinds = set(getattr(config, "layer_types", None) or ())
    if other := kinds - {"full_attention"}:
        return f"layers of type {', '.join(sorted(other))}"
    if not kinds and getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return "a sliding window"
    if getattr(config, "attention_chunk_size", None):
        return "attention in chunks"
    if config._attn_implementation not in ("sdpa", "eager"):
        return f"attention {config._attn_implementation!r}, which was chosen by the user"
    return ""


def packed_attention(model: Any) -> AbstractContextManager[None]:
    """Make a model attend within the rows of a :class:`Packed`; it must be called with the arguments of that object."""
    return use_attention(model, NAME)


@contextmanager
def use_attention(model: Any, name: str) -> Iterator[None]:
    """Make a model use an attention of transformers' registry, given by its name."""
    config = model.config.get_text_config(decoder=True)
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
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
    row_lengths: Tensor,
    row_branches: Sequence[tuple[int, Tensor] | None] = (),
    calls: list[str] | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """``[1, heads, N, n]``, twice ``[1, kv heads, N, n]`` -> ``[1, N, heads, n]``; causal, without dropout.

    ``calls``, if given, receives one entry per call: the names of arguments that this attention would ignore.
    """
    if calls is not None:
        calls.append(" ".join(ignored(others)))
    if not row_branches and _has_kernel(query.device, query.dtype):
        return _kernel(query, key, value, scaling, cu_seq_lens_q, max_length_q), None
    lengths, heads = row_lengths.tolist(), query.shape[1]
    rows = zip(*(_repeated(t, heads).split_with_sizes(lengths, dim=2) for t in (query, key, value)), strict=True)
    read: list[Tensor] = []
    for (q, k, v), tree in zip(rows, row_branches or [None] * len(lengths), strict=True):
        start, sees = (q.shape[2], None) if tree is None else tree
        q1, k1, v1 = (states[:, :, :start] for states in (q, k, v))
        read.append(F.scaled_dot_product_attention(q1, k1, v1, is_causal=True, scale=scaling))
        if sees is not None:
            read.append(F.scaled_dot_product_attention(q[:, :, start:], k, v, attn_mask=sees, scale=scaling))
    return torch.cat(read, dim=2).transpose(1, 2), None


def _tree(pieces: Sequence[int]) -> tuple[int, Tensor]:
    """The length of the prefix, and the attention mask of the positions after it."""
    prefix, *branches = pieces
    diagonal: Any = torch.block_diag
    own: Tensor = diagonal(*[torch.ones(length, length).tril() for length in branches])
    return prefix, torch.cat([own.new_ones(len(own), prefix), own], dim=1).bool()


def ignored(arguments: Mapping[str, Any]) -> list[str]:
    """Names of arguments of an attention call that change its result and that the attentions here do not support."""
    return sorted(n for n in arguments.keys() - _HARMLESS if arguments[n] is not None and arguments[n] is not False)


def _has_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch has a kernel for variable lengths; whether this GPU supports it is found by calling it."""
    return device.type == "cuda" and dtype in (torch.float16, torch.bfloat16)


def _kernel(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, starts: Tensor, longest: int) -> Tensor:
    """Attention of all rows in one kernel launch; the window ``(-1, 0)`` makes it causal."""
    from torch.nn.attention.varlen import varlen_attn

    attend: Any = varlen_attn
    flat = (states[0].transpose(0, 1) for states in (query, key, value))
    read: Tensor = attend(*flat, starts, starts, longest, longest, scale=scaling, window_size=(-1, 0), enable_gqa=True)
    return read[None]


def _repeated(states: Tensor, heads: int) -> Tensor:
    """``[B, kv heads, T, n]`` -> ``[B, heads, T, n]``: each head of keys or values for its group of queries."""
    groups = heads // states.shape[1]
    return states if groups == 1 else states.repeat_interleave(groups, dim=1)


AttentionInterface.register(NAME, _attend)
