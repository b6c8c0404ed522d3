"""The interface of output projectors: states of signal tokens in, conditioning for a generator out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

__all__ = ["OutputConfig", "OutputProjector"]


class OutputConfig(Protocol):
    """The configuration of an output projector: a frozen dataclass whose class determines which projector is built.

    Its sizes are those of :class:`~inlay.adapters.outputs.fields.OutputSizes`.
    """

    @property
    def width_in(self) -> int:
        """Values per hidden state of the LLM; 0 until it is read from the backbone."""
        ...

    @property
    def width_out(self) -> int:
        """Values per vector of the conditioning; 0 until it is read from the backbone."""
        ...


@runtime_checkable
class OutputProjector(Protocol):
    """An ``nn.Module`` between the LLM and a generator."""

    kind: str
    """The name that bundles store."""
    config: Any
    """A dataclass with the fields of :class:`~inlay.adapters.outputs.fields.OutputSizes`."""

    @property
    def forward(self) -> Callable[..., Tensor]:
        """``[n, signals, width_in]`` -> ``[n, tokens, width_out]``.

        The input is the last hidden state of each signal token *plus* its input embedding, at the position where the
        signal token is read (not at the position before, which predicts it).
        """
        ...
