"""The fields that the configurations of all output projectors share."""

from __future__ import annotations

from dataclasses import dataclass

from inlay.adapters.parts.fields import PortCount, PortSize, check_fields

__all__ = ["OutputSizes"]


@dataclass(frozen=True, kw_only=True)
class OutputSizes:
    """Sizes of the input and of the output; 0 until they are read from the backbone and the adapter's token rows.

    A bundle stores settings flat, so configurations extend this class.
    """

    width_in: PortSize = 0
    """Values per hidden state of the LLM."""
    signals: PortCount = 0
    """Signal tokens that are read."""
    tokens: PortCount = 0
    """Vectors of the conditioning: 77 for Stable Diffusion, 1 for AudioLDM."""
    width_out: PortSize = 0
    """Values per vector of the conditioning."""

    def __post_init__(self) -> None:
        check_fields(self)
