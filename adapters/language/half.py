"""A frozen language model in bfloat16, in place: half the memory, and the type that fast matrix units take."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["halve"]


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
