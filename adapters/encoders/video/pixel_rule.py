"""How a processor of transformers maps colours to numbers: scale, offset, mean and standard deviation.

Most models take ``(x - mean) / deviation`` of ``x`` in 0..1. ViViT's processor scales to -1..1 before that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["PixelRule"]

_BYTE = 255.0


@dataclass(frozen=True)
class PixelRule:
    """``(x * scale + offset - mean) / deviation`` for ``x`` in 0..1.

    Example:
        >>> PixelRule.of({"image_mean": [0.5] * 3, "image_std": [0.5] * 3})(torch.ones(1, 3, 1, 1)).flatten().tolist()
        [1.0, 1.0, 1.0]
    """

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    deviation: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(cls, processor: Any) -> PixelRule:
        """The rule of a processor, or of the fields of its file."""

        def held(name: str, otherwise: Any = None) -> Any:
            value = processor.get(name) if isinstance(processor, Mapping) else getattr(processor, name, None)
            return otherwise if value is None else value

        normalised = held("do_normalize", True) and held("image_mean") is not None
        scaled = held("do_rescale", True)
        return cls(
            mean=_three(held("image_mean")) if normalised else cls.mean,
            deviation=_three(held("image_std", 1.0)) if normalised else cls.deviation,
            scale=_BYTE * float(held("rescale_factor", 1 / _BYTE)) if scaled else _BYTE,
            offset=-1.0 if scaled and held("offset", False) else 0.0,
        )

    @property
    def fill(self) -> tuple[int, int, int]:
        """The mean colour in 0..255, with which a frame is padded to a square."""
        red, green, blue = (min(255, max(0, int(_BYTE * (mean - self.offset) / self.scale))) for mean in self.mean)
        return red, green, blue

    def __call__(self, pixels: Tensor) -> Tensor:
        """``[n, 3, height, width]`` in 0..1 -> the model's numbers."""
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.deviation))
        return (pixels * self.scale + self.offset - mean) / deviation


def _three(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values)) if isinstance(values, Sequence) else (float(values),) * 3
