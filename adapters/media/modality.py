"""The modalities of media; text is not one of them."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["GENERATED", "Modality"]

Modality: TypeAlias = Literal["image", "audio", "video", "features"]
"""Input modalities. ``features`` are files of precomputed features: sensors, molecules, EEG."""

GENERATED: tuple[Modality, ...] = ("image", "audio", "video")
"""Modalities with encoders and generators: all except ``features``."""
