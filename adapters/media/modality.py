"""The modalities of media; text is not one of them."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["Modality"]

Modality: TypeAlias = Literal["image", "audio", "video"]
