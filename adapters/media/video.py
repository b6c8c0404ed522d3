"""A clip in memory."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

__all__ = ["Video"]


@dataclass(frozen=True, eq=False)
class Video:
    """Pictures in the order of time."""

    frames: tuple[Image.Image, ...]
    """RGB, all of one size."""
    fps: float
    """Frames per second."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.frames) / self.fps
