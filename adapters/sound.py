"""A sound in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sound"]


@dataclass(frozen=True, eq=False)
class Sound:
    """One channel of samples."""

    samples: NDArray[np.float32]
    """``[n]``, between -1 and 1."""
    rate: int
    """Samples per second, in Hz."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate
