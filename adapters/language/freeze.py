"""Freezing a module: eval mode, and no parameter that requires a gradient."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

__all__ = ["freeze"]

M = TypeVar("M", bound=nn.Module)


def freeze(module: M) -> M:
    """Put a module into eval mode and turn off ``requires_grad`` of all its parameters; returns the same module."""
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module
