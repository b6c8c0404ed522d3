"""Random weights that are larger than those of a new model."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

__all__ = ["perturbed"]

Model = TypeVar("Model", bound=nn.Module)


def perturbed(model: Model, scale: float, *, seed: int = 11) -> Model:
    """The model with random values added to all weights, so that its answers vary with its input."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    return model
