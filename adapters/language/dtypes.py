"""In which data type a layer computes: that of its input, or autocast's where autocast is on."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["computed_in"]


def computed_in(value: Tensor) -> torch.dtype:
    """The data type in which a matrix product of this tensor is taken here.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     computed_in(torch.zeros(1))
        torch.bfloat16
    """
    device = value.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype
