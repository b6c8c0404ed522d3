"""The modalities of media; text is not one of them."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["GENERATED", "Modality"]

Modality: TypeAlias = Literal["image", "audio", "video", "features"]
"""What a model takes in. ``features`` are files of numbers that another program computed: sensors, molecules, EEG."""

GENERATED: tuple[Modality, ...] = ("image", "audio", "video")
"""What encoders and generators exist for: all but ``features``."""
