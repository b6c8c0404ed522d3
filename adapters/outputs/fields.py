"""What every output projector's configuration begins with."""

from __future__ import annotations

from dataclasses import dataclass

from inlay.adapters.parts.fields import Queries, Size, check_fields

__all__ = ["OutputSizes"]


@dataclass(frozen=True, kw_only=True)
class OutputSizes:
    """From signal tokens to a generator's conditioning. A bundle stores settings flat, so configurations extend it."""

    width_in: Size
    """Values per hidden state of the LLM."""
    signals: Queries
    """Signal tokens that are read."""
    tokens: Queries
    """Vectors of the conditioning: 77 for Stable Diffusion, 1 for AudioLDM."""
    width_out: Size
    """Values per vector of the conditioning."""

    def __post_init__(self) -> None:
        check_fields(self)
