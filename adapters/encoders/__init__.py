"""Frozen encoders, one file a family."""

from __future__ import annotations

from inlay.adapters.encoders.clip import ClipEncoder
from inlay.adapters.encoders.eva import EvaEncoder
from inlay.adapters.encoders.eva_timm import eva_from_timm
from inlay.adapters.encoders.protocol import ImageEncoder
from inlay.adapters.encoders.qformer import QFORMER_FAMILY, QFormerEncoder
from inlay.adapters.encoders.vision import EncoderError, VisionEncoder, squares
from inlay.adapters.encoders.vit import VitEncoder

__all__ = [
    "QFORMER_FAMILY",
    "ClipEncoder",
    "EncoderError",
    "EvaEncoder",
    "ImageEncoder",
    "QFormerEncoder",
    "VisionEncoder",
    "VitEncoder",
    "eva_from_timm",
    "squares",
]
