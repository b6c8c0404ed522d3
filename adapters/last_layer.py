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

__all__ = ["last_layer_at"]


@contextmanager
def last_layer_at(model: Any, rows: Tensor | None) -> Iterator[bool]:
    """While this lasts, the last layer gives ``[1, rows.sum(), width]``: its output at these rows, in their order.

    Args:
        model: a decoder-only language model.
        rows: ``[B, T]`` bool; None leaves the layer as it is.

    Returns:
        Whether the layer does so. Others than LLaMA's, Mistral's, Qwen's and OPT's are left as they are, and so are
        layers with a sliding window or with somebody else's call.
    """
    layer = None if rows is None else _known(model)
    if layer is None or rows is None:
        yield False
        return
    run = _opt if _class_of(layer) == _OPT else _llama
    layer.__dict__["forward"] = partial(run, layer, _Places(rows))
    try:
        yield True
    finally:
        del layer.__dict__["forward"]


# By their full names: to import five families in order to recognise one would cost every start.
_OPT = "transformers.models.opt.modeling_opt.OPTDecoderLayer"
_LIKE_LLAMA = tuple(
    f"transformers.models.{family.lower()}.modeling_{family.lower()}.{family}DecoderLayer"
    for family in ("Llama", "Mistral", "Qwen2", "Qwen3")
)


def _class_of(layer: Any) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


def _known(model: Any) -> Any | None:
    """The last layer, if its class is one of those above and nobody looks into it or has changed its call."""
    layers = getattr(model.get_decoder(), "layers", None)
    if not layers or model.config._attn_implementation not in ("sdpa", "eager"):
        return None
    layer = layers[-1]
    if layer._forward_hooks or layer._forward_pre_hooks or "forward" in layer.__dict__:
        return None
    if _class_of(layer) == _OPT:
        return layer
    return layer if _class_of(layer) in _LIKE_LLAMA and not _window(model.config, layer.self_attn) else None


def _window(config: Any, attention: Any) -> bool:
    """Mistral's window is the config's, Qwen's a layer's own."""
    return getattr(attention, "sliding_window", getattr(config, "sliding_window", None)) is not None


class _Places:
    """Labelled positions as an index ``[B, S]``, S of the row with the most; shorter rows repeat what is not read."""

    def __init__(self, rows: Tensor) -> None:
        counts = rows.sum(dim=1)
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
            seen = torch.arange(key.shape[2], device=key.device) <= self.index[..., None]
            mask = seen[:, None]
        else:
            mask = self.pick(mask.expand(len(self.index), -1, -1, -1)[:, 0])[:, None]
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        return read.transpose(1, 2)[self.real].flatten(1)


def _llama(
    layer: Any,
    places: _Places,
    hidden: Tensor,
    attention_mask: Tensor | None = None,
    *,
    position_embeddings: tuple[Tensor, Tensor],
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
    read = attention.o_proj(places.attend(query, key, value, attention_mask, attention.scaling))
    residual = places.pick(hidden)[places.real] + read
    out: Tensor = residual + layer.mlp(layer.post_attention_layernorm(residual))
    return out[None]


def _opt(layer: Any, places: _Places, hidden: Tensor, attention_mask: Tensor | None = None, **_: Any) -> Tensor:
    """The same of OPT, whose norms may come behind; dropout is off in a frozen model."""
    attention, before = layer.self_attn, layer.do_layer_norm_before
    normed = layer.self_attn_layer_norm(hidden) if before else hidden
    key, value = _heads(attention, "k", normed), _heads(attention, "v", normed)
    query = _heads(attention, "q", places.pick(normed)) * attention.scaling
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
