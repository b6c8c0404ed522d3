"""One trainable part of an adapter, with its name and counts for tables and errors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

__all__ = ["Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """One trainable piece."""

    name: str
    """``inputs.image``, ``outputs.audio``, ``tokens``, ``lora``, ..."""
    kind: str
    """``linear``, ``mlp``, ``lora``, ..."""
    module: nn.Module

    @property
    def parameters(self) -> int:
        """Number of trainable values."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def dtype(self) -> str:
        """Data type in memory."""
        return str(next(self.module.parameters()).dtype).removeprefix("torch.")
