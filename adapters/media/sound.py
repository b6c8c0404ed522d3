"""A sound in memory, and how it comes to another rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inlay.adapters.media.untrusted import MediaError

__all__ = ["Sound", "resample"]


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


def resample(sound: Sound, rate: int) -> Sound:
    """The same sound at another rate, band-limited by soxr; at its own rate it is given back untouched.

    Args:
        sound: any sound.
        rate: samples per second, in Hz.

    Returns:
        ``round(n * rate / sound.rate)`` samples, never none of a sound that has some.

    Raises:
        MediaError: the rates differ and soxr is not installed.
    """
    if sound.rate == rate:
        return sound
    try:
        import soxr
    except ImportError as error:
        raise MediaError(
            f"a sound of {sound.rate} Hz has to come to {rate} Hz, and soxr is not installed: pip install "
            f"'inlay[audio]', or give sounds of {rate} Hz"
        ) from error
    samples = np.asarray(soxr.resample(sound.samples, sound.rate, rate, quality="HQ"), dtype=np.float32)
    wanted = max(1, round(len(sound.samples) * rate / sound.rate))
    return Sound(np.pad(samples[:wanted], (0, max(0, wanted - len(samples)))), rate)
