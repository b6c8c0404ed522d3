"""The last decoder layer at labelled positions only: everywhere else its keys and values are all that anybody reads.

Nothing comes behind the last layer but the norm and the head, and the loss reads those where a label is predicted. So
queries, output projection and MLP run there alone; no number changes. With 7 % of the positions labelled that is
nine tenths of the layer, forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from inlay.adapters.language.known_layers import OPT, class_of, decoder_layers, is_known
from inlay.adapters.language.packed_attention import Packed, by_row, repeated

__all__ = ["last_layer_at"]


@contextmanager
def last_layer_at(model: Any, rows: Tensor | None, packed: Packed | None = None) -> Iterator[bool]:
    """While this lasts, the last layer gives ``[1, rows.sum(), width]``: its output at these rows, in their order.

    Args:
        model: a decoder-only language model.
        rows: ``[B, T]`` bool; None leaves the layer as it is.
        packed: given where the model reads the rows end to end, see :mod:`inlay.adapters.language.packed_attention`.

    Returns:
        Whether the layer does so; it is left as it is where its inside is not known, or where its attention is neither
        of the two that are written out here.
    """
    layer = None if rows is None else _known(model, packed)
    if layer is None or rows is None:
        yield False
        return
    places = _Places(rows) if packed is None else _PackedPlaces(rows, packed)
    run = _opt if class_of(layer) == OPT else _llama
    layer.__dict__["forward"] = partial(run, layer, places)
    try:
        yield True
    finally:
        del layer.__dict__["forward"]


def _known(model: Any, packed: Packed | None) -> Any | None:
    """The last layer, if it is known."""
    layers = decoder_layers(model)
    if not layers or (packed is None and model.config._attn_implementation not in ("sdpa", "eager")):
        return None
    return layers[-1] if is_known(model, layers[-1]) else None


class _Places:
    """Labelled positions as an index ``[B, S]``, S of the row with the most; shorter rows repeat what is not read."""

    def __init__(self, rows: Tensor) -> None:
        counts, self.length = rows.sum(dim=1), rows.shape[1]
        most = int(counts.max())
        self.index = rows.logical_not().to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        self.real = torch.arange(most, device=rows.device) < counts[:, None]

    def pick(self, values: Tensor) -> Tensor:
        """``[B or 1, T, n]`` -> ``[B, S, n]``."""
        wide = values.expand(len(self.index), -1, -1)
        return wide.gather(1, self.index[..., None].expand(-1, -1, values.shape[-1]))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        """``[B, heads, S, n]``, twice ``[B, kv heads, T, n]`` -> ``[rows.sum(), heads * n]``."""
        if mask is None:
            begun = key.shape[2] - self.length
            seen = torch.arange(key.shape[2], device=key.device) <= self.index[..., None] + begun
            mask = seen[:, None]
        else:
            mask = self.pick(mask.expand(len(self.index), -1, -1, -1)[:, 0])[:, None]
        key, value = repeated(key, query.shape[1]), repeated(value, query.shape[1])
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        return read.transpose(1, 2)[self.real].flatten(1)


class _PackedPlaces:
    """Labelled positions of rows that lie end to end: an index ``[1, S]``, and who may read whom."""

    def __init__(self, rows: Tensor, packed: Packed) -> None:
        self.index = packed.flat(rows)[0].nonzero().T
        self.real = torch.ones_like(self.index, dtype=torch.bool)
        self.lengths, self.counts = packed.lengths, rows.sum(dim=1).tolist()
        self.own = packed.positions.gather(1, self.index)

    def pick(self, values: Tensor) -> Tensor:
        """``[1, N, n]`` -> ``[1, S, n]``."""
        return values[:, self.index[0]]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        """``[1, heads, S, n]``, twice ``[1, kv heads, N, n]`` -> ``[S, heads * n]``, conversation by conversation."""
        key, value = repeated(key, query.shape[1]), repeated(value, query.shape[1])
        read = []
        pieces = zip(by_row(key, self.lengths), by_row(value, self.lengths), strict=True)
        asked = zip(query.split_with_sizes(self.counts, dim=2), self.own[0].split_with_sizes(self.counts), strict=True)
        for (q, own), (k, v) in zip(asked, pieces, strict=True):
            seen = torch.arange(k.shape[2], device=k.device) <= own[:, None]
            read.append(F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale))
        return torch.cat(read, dim=2)[0].transpose(0, 1).flatten(1)


def _llama(
    layer: Any,
    places: _Places | _PackedPlaces,
    hidden: Tensor,
    attention_mask: Tensor | None = None,
    *,
    position_embeddings: tuple[Tensor, Tensor],
    past_key_values: Any = None,
    **_: Any,
) -> Tensor:
    """``[B, T, width]`` -> ``[1, rows.sum(), width]``, as the layer itself would."""
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    # Keys and values first: LoRA's fused linears learn from the order that these two share an input.
    key, value = _heads(attention, "k", normed), _heads(attention, "v", normed)
    query = _heads(attention, "q", places.pick(normed))
    cos, sin = position_embeddings
    key = _rotated(key, cos, sin)
    query = _rotated(query, places.pick(cos), places.pick(sin))
    if past_key_values is not None:
        key, value = past_key_values.update(key, value, attention.layer_idx)
    read = attention.o_proj(places.attend(query, key, value, attention_mask, attention.scaling))
    residual = places.pick(hidden)[places.real] + read
    out: Tensor = residual + layer.mlp(layer.post_attention_layernorm(residual))
    return out[None]


def _opt(
    layer: Any,
    places: _Places | _PackedPlaces,
    hidden: Tensor,
    attention_mask: Tensor | None = None,
    *,
    past_key_values: Any = None,
    **_: Any,
) -> Tensor:
    """The same of OPT, whose norms may come behind; dropout is off in a frozen model."""
    attention, before = layer.self_attn, layer.do_layer_norm_before
    normed = layer.self_attn_layer_norm(hidden) if before else hidden
    key, value = _heads(attention, "k", normed), _heads(attention, "v", normed)
    query = _heads(attention, "q", places.pick(normed)) * attention.scaling
    if past_key_values is not None:
        key, value = past_key_values.update(key, value, attention.layer_idx)
    residual = places.pick(hidden)[places.real] + attention.out_proj(
        places.attend(query, key, value, attention_mask, 1.0)
    )
    residual = residual if before else layer.self_attn_layer_norm(residual)
    inner = layer.fc1(layer.final_layer_norm(residual) if before else residual)
    out: Tensor = residual + layer.fc2(layer.activation_fn(inner))
    return (out if before else layer.final_layer_norm(out))[None]


def _heads(attention: Any, name: str, states: Tensor) -> Tensor:
    """``[B, n, width]`` -> ``[B, heads, n, head width]``, normed where the family norms it (Qwen3)."""
    split = getattr(attention, f"{name}_proj")(states).unflatten(-1, (-1, attention.head_dim))
    norm = getattr(attention, f"{name}_norm", None)
    heads: Tensor = (split if norm is None else norm(split)).transpose(1, 2)
    return heads


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (Su et al., 2021, https://arxiv.org/abs/2104.09864), the two halves of a head being a pair."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]
