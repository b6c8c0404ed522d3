"""Frozen encoders, one file a family."""

from __future__ import annotations

from inlay.adapters.encoders.clip import ClipEncoder
from inlay.adapters.encoders.vision import VisionEncoder
from inlay.adapters.encoders.vit import VitEncoder

__all__ = ["ClipEncoder", "VisionEncoder", "VitEncoder"]
