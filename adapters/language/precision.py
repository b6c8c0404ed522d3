"""Data types: the dtype in which a layer computes, and those of the stored weights of a frozen model."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["Quantised", "computed_in", "halve", "precision_of"]

Quantised: TypeAlias = Literal["nf4", "int8"]


def computed_in(value: Tensor) -> torch.dtype:
    """The dtype in which a matrix product with this tensor is computed: autocast's, or the tensor's own.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     computed_in(torch.zeros(1))
        torch.bfloat16
    """
    device = value.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype


def halve(model: nn.Module) -> None:
    """Convert the frozen parameters to bfloat16.

    Buffers keep their dtype: rotary frequencies lose positions in half precision. Trainable parameters stay in float32
    for the optimizer.

    Example:
        >>> layer = nn.Linear(2, 2).requires_grad_(False)
        >>> halve(layer)
        >>> layer.weight.dtype
        torch.bfloat16
    """
    for parameter in model.parameters():
        if parameter.is_floating_point() and not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)


def precision_of(model: Any) -> Quantised | None:
    """The format of a quantised model's linears; None if they are floating-point."""
    if getattr(model, "is_loaded_in_4bit", False):
        return "nf4"
    return "int8" if getattr(model, "is_loaded_in_8bit", False) else None
