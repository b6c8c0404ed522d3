"""One trainable piece of an adapter, as tables and errors show it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from inlay.hub.errors import InlayError

__all__ = ["AttachError", "OtherWeightsWarning", "Part"]


class AttachError(InlayError):
    """An adapter or a backbone is already in use, or not attached, or the parts of an adapter contradict each other."""


class OtherWeightsWarning(UserWarning):
    """The backbone fits, but has other weights than the one that the adapter was trained on."""


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
