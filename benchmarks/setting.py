"""Settings of all measures: device, rounds, sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from benchmarks.machine import sides_bf16
from inlay.recipes.settings.precision import Precision

__all__ = ["Setting"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Settings of every measure."""

    place: Path
    """Folder for the files of a measure."""
    rounds: int = 2
    """Rounds of A B B A; each gives two repetitions per side."""
    size: Literal["full", "tiny"] = "full"
    """``tiny`` takes seconds and gives no meaningful times; for tests."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Device of both sides."""
    force_bf16: bool = False
    """Use bfloat16 even if it is not faster; for tests."""

    @property
    def tiny(self) -> bool:
        """Whether times are not meaningful."""
        return self.size == "tiny"

    @property
    def curve_steps(self) -> int:
        """Steps of the loss curves."""
        return 2 if self.tiny else 50

    @property
    def repeats(self) -> int:
        """Rounds of a training measure."""
        return 1 if self.tiny else self.rounds

    @property
    def quick_repeats(self) -> int:
        """Rounds of a measure that takes milliseconds."""
        return 1 if self.tiny else 3 * self.rounds

    @property
    def bf16(self) -> bool:
        """Whether both sides use bfloat16: on a GPU always, on a CPU if a timed matrix product is faster."""
        return self.force_bf16 or self.device.type == "cuda" or sides_bf16(self.device)

    def precision(self, bf16: bool) -> Precision:
        """The precision of our side, as for ``inlay train``."""
        return "bf16-true" if bf16 else "32-true"
