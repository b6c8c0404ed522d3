"""Data types of an adapter on disk: bfloat16 or float32 for everything, or int8 for large matrices.

With int8, the matrices of a projector's linears, embeddings and convolutions are stored as int8 with a scale per row
(:mod:`inlay.hub.format.int8`). Norms, biases, query tokens and token rows are small and sensitive to rounding, and
are stored in bfloat16. So is LoRA, because PEFT, which reads its folder too, does not support int8.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from inlay.hub.format.header import SCALE
from inlay.hub.format.int8 import dequantised, is_worth_it, to_int8

__all__ = ["DiskDtype", "float_of", "int8_matrices", "on_disk", "round_module"]

DiskDtype: TypeAlias = Literal["bfloat16", "float32", "int8"]
_HOLD_MATRICES = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d)


def float_of(dtype: DiskDtype) -> Literal["bfloat16", "float32"]:
    """The data type of tensors that are not int8."""
    return "bfloat16" if dtype == "int8" else dtype


def int8_matrices(module: nn.Module) -> frozenset[str]:
    """Names of the parameters that become int8.

    Example:
        >>> sorted(int8_matrices(nn.Sequential(nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 64), nn.LayerNorm(64))))
        ['0.weight']
    """
    return frozenset(
        f"{name}.weight".removeprefix(".")
        for name, child in module.named_modules()
        if isinstance(child, _HOLD_MATRICES) and is_worth_it(child.weight.shape)
    )


@torch.no_grad()
def round_module(module: nn.Module, dtype: DiskDtype) -> None:
    """Round every parameter in place to a value of the dtype on disk; the dtype in memory is not changed."""
    kind, matrices = getattr(torch, float_of(dtype)), int8_matrices(module) if dtype == "int8" else ()
    for name, parameter in module.named_parameters():
        if name in matrices:
            whole, scale = to_int8(parameter)
            parameter.copy_(dequantised({name: whole, name + SCALE: scale})[name])
        else:
            parameter.copy_(parameter.to(kind).to(parameter.dtype))


def on_disk(module: nn.Module, dtype: DiskDtype) -> dict[str, Tensor]:
    """The tensors of a part as written, on the CPU; int8 matrices together with their scales."""
    kind, matrices = getattr(torch, float_of(dtype)), int8_matrices(module) if dtype == "int8" else ()
    held: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        if name in matrices:
            held[name], held[name + SCALE] = to_int8(tensor)
        else:
            held[name] = tensor.detach().to("cpu", kind).contiguous()
    return held
