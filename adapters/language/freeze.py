"""Freezing: one function, so that "frozen" means the same everywhere."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

__all__ = ["freeze"]

M = TypeVar("M", bound=nn.Module)


def freeze(module: M) -> M:
    """Put a module in eval mode, with no parameter that asks for a gradient; returns the module itself."""
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module
