"""Data types: in which one a layer computes, and in which ones a frozen model keeps its weights."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["Quantised", "computed_in", "halve", "precision_of"]

Quantised: TypeAlias = Literal["nf4", "int8"]


def computed_in(value: Tensor) -> torch.dtype:
    """The data type in which a matrix product of this tensor is taken here.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     computed_in(torch.zeros(1))
        torch.bfloat16
    """
    device = value.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype


def halve(model: nn.Module) -> None:
    """Round the frozen parameters to bfloat16.

    Buffers stay as they are: rotary frequencies lose positions in half precision. What trains stays too, in float32 for
    the optimizer.

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
    """In what a model's linears are kept, where it is not a floating-point type."""
    if getattr(model, "is_loaded_in_4bit", False):
        return "nf4"
    return "int8" if getattr(model, "is_loaded_in_8bit", False) else None
