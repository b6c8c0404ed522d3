"""LoRA's layers with an autograd of their own: one product for all matrices ``A`` that read the same tensor.

Queries, keys and values read one input, and so do the two halves of a gated MLP. For the layers ``i`` of a group there
is one product ``h = x [A_1; A_2; ...]^T``, and ``s B_i h_i`` is added into the frozen linear's own output ``W_i x``.
Saved for the backward pass are ``x`` and the narrow ``h``; the gradient to ``x`` is summed in place. Left to autograd,
each layer makes three more tensors as wide as its output, and as many for the gradient. Unsloth does the same in Triton
(https://github.com/unslothai/unsloth, ``kernels/fast_lora.py``); here it is plain torch, for the CPU too.

Dropout, a data type that differs from the weights', or a linear that is none take peft's own way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from inlay.adapters.language.precision import computed_in

__all__ = ["fuse", "unfuse"]

_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("q", "k", "v"), ("wi_0", "wi_1"))
"""Names of linears that may read one tensor. Whether they do is seen when they are called."""


def fuse(layers: Mapping[str, LoraLayer], name: str) -> None:
    """Give LoRA layers the fused call.

    Args:
        layers: full name -> layer of peft, as it stands in the model.
        name: of the adapter in them.
    """
    groups: dict[tuple[str, int], _Group] = {}
    for path, layer in layers.items():
        parent, _, last = path.rpartition(".")
        kind = next((index for index, names in enumerate(_SIBLINGS) if last in names), None)
        group = _Group(name) if kind is None else groups.setdefault((parent, kind), _Group(name))
        group.add(layer)


def unfuse(layers: Sequence[LoraLayer]) -> None:
    """Give layers peft's own call back."""
    for layer in layers:
        layer.__dict__.pop("forward", None)


class _Group:
    """Layers that read the same tensor: the first that is called computes for all.

    One that turns out to be called with something else (the queries of a cross-attention) leaves for good.

    Args:
        name: of the adapter in the layers.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.layers: list[Any] = []
        self.read: tuple[Tensor, int] | None = None
        self.waiting: dict[int, Tensor] = {}

    def add(self, layer: Any) -> None:
        """Take a layer in."""
        self.layers.append(layer)
        layer.__dict__["forward"] = partial(_call, self, layer)

    def give(self, layer: Any, x: Tensor) -> Tensor:
        """The output of one layer."""
        found = self.waiting.pop(id(layer), None)
        if found is not None and self.read is not None:
            read, version = self.read
            if read is x and version == _version(x):
                if not self.waiting:
                    self.read = None
                return found
            self.layers.remove(layer)
            alone = _Group(self.name)
            alone.add(layer)
            return alone.give(layer, x)
        outputs = _lora(x, self.layers, self.name)
        self.waiting = {id(other): output for other, output in zip(self.layers, outputs, strict=True)}
        self.read = (x, _version(x)) if len(self.layers) > 1 else None
        return self.waiting.pop(id(layer))


def _version(x: Tensor) -> int:
    """How often a tensor was written to; inference tensors do not count it."""
    return 0 if x.is_inference() else x._version


def _call(group: _Group, layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """In the place of a layer's ``forward``."""
    if args or kwargs or not _is_plain(layer, group.name, x):
        slow: Tensor = type(layer).forward(layer, x, *args, **kwargs)
        return slow
    return group.give(layer, x)


def _is_plain(layer: Any, name: str, x: Tensor) -> bool:
    dropout = layer.lora_dropout[name]
    return (
        type(layer.base_layer) is nn.Linear
        and layer.base_layer.weight.dtype == computed_in(x)
        and not layer.base_layer.weight.requires_grad
        and not (layer.disable_adapters or layer.merged)
        and layer.active_adapters == [name]
        and (isinstance(dropout, nn.Identity) or not dropout.training)
    )


def _lora(x: Tensor, layers: Sequence[Any], name: str) -> tuple[Tensor, ...]:
    weights = [layer.base_layer.weight for layer in layers]
    biases = [layer.base_layer.bias for layer in layers]
    downs, ups = ([getattr(layer, f"lora_{matrix}")[name].weight for layer in layers] for matrix in "AB")
    scale = float(layers[0].scaling[name])
    apply: Any = _FusedLora.apply
    outputs: tuple[Tensor, ...] = apply(x, scale, weights, biases, *downs, *ups)
    return outputs


class _FusedLora(torch.autograd.Function):
    """``y_i = W_i x + b_i + scale * B_i A_i x`` for all layers of a group."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: float,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        *matrices: Tensor,
    ) -> tuple[Tensor, ...]:
        """``x`` is ``[..., width]``; the matrices are all ``A`` ``[r, width]``, then all ``B`` ``[out, r]``."""
        kind, count = computed_in(x), len(weights)
        with torch.autocast(x.device.type, enabled=False):
            flat = x.reshape(-1, x.shape[-1]).to(kind)
            down = torch.cat(matrices[:count]).to(kind)
            narrow = F.linear(flat, down)
            parts = narrow.chunk(count, dim=1)
            outputs = [
                F.linear(flat, weight, bias).addmm_(part, up.to(kind).t(), alpha=scale)
                for weight, bias, part, up in zip(weights, biases, parts, matrices[count:], strict=True)
            ]
        trained = any(ctx.needs_input_grad[4:])
        ctx.save_for_backward(flat if trained else None, narrow if trained else None, down, *matrices[count:], *weights)
        ctx.set_materialize_grads(False)
        ctx.scale, ctx.count, ctx.shape = scale, count, x.shape
        ctx.given, ctx.kinds = x.dtype, [matrix.dtype for matrix in matrices]
        return tuple(output.view(*x.shape[:-1], -1) for output in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *pulls: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients to ``x``, to every ``A`` and to every ``B``; an output that nobody read has none."""
        count, scale = ctx.count, ctx.scale
        flat, narrow, down, *rest = ctx.saved_tensors
        ups, weights = rest[:count], rest[count:]
        given = [None if pull is None else pull.reshape(-1, pull.shape[-1]) for pull in pulls]
        pieces = [
            down.new_zeros(ctx.shape[:-1].numel(), up.shape[1]) if pull is None else pull @ up.to(pull.dtype)
            for pull, up in zip(given, ups, strict=True)
        ]
        to_narrow = torch.cat(pieces, dim=1).mul_(scale)
        to_matrices: list[Tensor | None] = [None] * (2 * count)
        if flat is not None:
            to_matrices[:count] = (to_narrow.t() @ flat).chunk(count)
            parts = narrow.chunk(count, dim=1)
            to_matrices[count:] = [
                None if pull is None else (pull.t() @ part).mul_(scale) for pull, part in zip(given, parts, strict=True)
            ]
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = to_narrow @ down
            for pull, weight in zip(given, weights, strict=True):
                if pull is not None:
                    to_x.addmm_(pull, weight)
            to_x = to_x.view(ctx.shape).to(ctx.given)
        cast = [None if g is None else g.to(kind) for g, kind in zip(to_matrices, ctx.kinds, strict=True)]
        return to_x, None, None, None, *cast
