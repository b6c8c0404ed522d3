"""ImageBind (Girdhar et al., 2023): images, video, audio, text, depth, thermal images and motion in one space."""

from __future__ import annotations

from inlay.adapters.encoders.imagebind.config import ImageBindConfig
from inlay.adapters.encoders.imagebind.encoder import ImageBindEncoder
from inlay.adapters.encoders.imagebind.model import ImageBind

__all__ = ["ImageBind", "ImageBindConfig", "ImageBindEncoder"]
