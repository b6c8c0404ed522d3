"""The fast path of LoRA: one product for all matrices ``A`` with the same input, as a custom autograd function.

Queries, keys and values have the same input, and so do the two halves of a gated MLP. For such siblings ``i`` there is
one product ``h = x [A_1; A_2; ...]^T``, and ``s B_i h_i`` is added into the frozen linear's own output ``W_i x``. Saved
for the backward pass are ``x`` and the narrow ``h``; the gradient to ``x`` is summed in place. The plain path makes
three more tensors as wide as its output for each linear, and as many for the gradient. Unsloth does the same in Triton
(https://github.com/unslothai/unsloth, ``kernels/fast_lora.py``); here it is plain torch, on the CPU too.

Dropout, hooks, a dtype that differs from the weights' and any linear except ``nn.Linear`` use the plain path.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from inlay.adapters.language.precision import computed_in

__all__ = ["Siblings", "can_fuse", "siblings_of"]

_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("q", "k", "v"), ("wi_0", "wi_1"))
"""Names of linears that may have the same input, which is checked in each call."""
_CHANGES = threading.Lock()


class Siblings:
    """Linears with the same input: the first that is called computes the outputs of all.

    The outputs are stored per thread until the others are called, so concurrent forward passes do not interfere. A
    linear that is called with another tensor (the queries of a cross-attention) is removed from the group permanently.
    """

    def __init__(self) -> None:
        self.layers: tuple[Any, ...] = ()
        self._thread = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {"layers": self.layers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.layers = state["layers"]
        self._thread = threading.local()

    def join(self, layer: Any) -> None:
        """Add a wrapped linear."""
        self.layers = (*self.layers, layer)

    def output(self, layer: Any, part: Any, x: Tensor) -> Tensor:
        """The output ``[..., out]`` of one linear for ``[..., in]``."""
        if len(self.layers) == 1 or x.is_inference():  # inference tensors have no version counter
            return _lora(x, [layer], part)[0]
        stamp = (part, x._version, torch.is_grad_enabled(), computed_in(x))
        waiting: _Waiting | None = getattr(self._thread, "waiting", None)
        if waiting is not None and layer in waiting.outputs:
            found: Tensor = waiting.outputs.pop(layer)
            if waiting.read is not x:
                return self._leave(layer).output(layer, part, x)
            if waiting.stamp == stamp:
                if not waiting.outputs:
                    self._thread.waiting = None
                return found
        layers = [other for other in self.layers if other is layer or can_fuse(other, part, x)]
        outputs = dict(zip(layers, _lora(x, layers, part), strict=True))
        own: Tensor = outputs.pop(layer)
        self._thread.waiting = _Waiting(x, stamp, outputs) if outputs else None
        return own

    def _leave(self, layer: Any) -> Siblings:
        with _CHANGES:
            if layer.siblings is self:
                alone = Siblings()
                alone.join(layer)
                self.layers = tuple(other for other in self.layers if other is not layer)
                layer.siblings = alone
        own: Siblings = layer.siblings
        return own


class _Waiting:
    """Outputs that were computed for siblings that have not been called yet."""

    def __init__(self, read: Tensor, stamp: tuple[object, ...], outputs: dict[Any, Tensor]) -> None:
        self.read, self.stamp, self.outputs = read, stamp, outputs


def siblings_of(target: str) -> tuple[str, int] | None:
    """The group key of linears that may have the same input; None for a linear without siblings.

    Example:
        >>> siblings_of("layers.0.self_attn.k_proj") == siblings_of("layers.0.self_attn.q_proj")
        True
    """
    parent, _, last = target.rpartition(".")
    return next(((parent, index) for index, names in enumerate(_SIBLINGS) if last in names), None)


def can_fuse(layer: Any, part: Any, x: Tensor) -> bool:
    """Whether the fused path is valid, that is, equal to the wrapped linear plus the plain update."""
    base = layer.base_layer
    if type(base) is not nn.Linear or (part.training and part.config.dropout):
        return False
    weight, bias = base.weight, base.bias
    return (
        type(weight) in (nn.Parameter, Tensor)  # other classes are sharded or quantised tensors
        and weight.dtype == computed_in(x)
        and weight.device == x.device == part._parameters[layer.names[0]].device
        and not (weight.requires_grad or (bias is not None and bias.requires_grad))
        and not (base._forward_hooks or base._forward_pre_hooks or base._backward_hooks or base._backward_pre_hooks)
        and "forward" not in base.__dict__
    )


def _lora(x: Tensor, layers: Sequence[Any], part: Any) -> tuple[Tensor, ...]:
    weights = [layer.base_layer.weight for layer in layers]
    biases = [layer.base_layer.bias for layer in layers]
    pairs = [layer.matrices(part) for layer in layers]
    apply: Any = _FusedLora.apply
    outputs: tuple[Tensor, ...] = apply(
        x, part.config.scale, weights, biases, *(down for down, _ in pairs), *(up for _, up in pairs)
    )
    return outputs


class _FusedLora(torch.autograd.Function):
    """``y_i = W_i x + b_i + scale * B_i A_i x`` for all siblings ``i``."""

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
        dtype, count = computed_in(x), len(weights)
        with torch.autocast(x.device.type, enabled=False):
            flat = x.reshape(-1, x.shape[-1]).to(dtype)
            down = torch.cat(matrices[:count]).to(dtype)
            narrow = F.linear(flat, down)
            parts = narrow.chunk(count, dim=1)
            outputs = [
                F.linear(flat, weight, bias).addmm_(part, up.to(dtype).t(), alpha=scale)
                for weight, bias, part, up in zip(weights, biases, parts, matrices[count:], strict=True)
            ]
        trained = any(ctx.needs_input_grad[4:])
        ctx.save_for_backward(flat if trained else None, narrow if trained else None, down, *matrices[count:], *weights)
        ctx.set_materialize_grads(False)
        ctx.scale, ctx.count, ctx.shape = scale, count, x.shape
        ctx.x_dtype, ctx.dtypes = x.dtype, [matrix.dtype for matrix in matrices]
        # Not views, because Llama 4 changes the output of its shared expert in place.
        shape: Any = torch.ops.aten._unsafe_view
        return tuple(shape(output, [*x.shape[:-1], output.shape[-1]]) for output in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients to ``x``, to every ``A`` and to every ``B``; an output that is not used has the gradient None."""
        count, scale = ctx.count, ctx.scale
        flat, narrow, down, *rest = ctx.saved_tensors
        ups, weights = rest[:count], rest[count:]
        to_outputs = [None if g is None else g.reshape(-1, g.shape[-1]) for g in gradients]
        pieces = [
            down.new_zeros(ctx.shape[:-1].numel(), up.shape[1]) if g is None else g @ up.to(g.dtype)
            for g, up in zip(to_outputs, ups, strict=True)
        ]
        to_narrow = torch.cat(pieces, dim=1).mul_(scale)
        to_matrices: list[Tensor | None] = [None] * (2 * count)
        if flat is not None:
            to_matrices[:count] = (to_narrow.t() @ flat).chunk(count)
            parts = narrow.chunk(count, dim=1)
            to_matrices[count:] = [
                None if g is None else (g.t() @ part).mul_(scale) for g, part in zip(to_outputs, parts, strict=True)
            ]
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = to_narrow @ down
            for g, weight in zip(to_outputs, weights, strict=True):
                if g is not None:
                    to_x.addmm_(g, weight)
            to_x = to_x.view(ctx.shape).to(ctx.x_dtype)
        cast = [None if g is None else g.to(dtype) for g, dtype in zip(to_matrices, ctx.dtypes, strict=True)]
        return to_x, None, None, None, *cast
