"""What tells one medium from another: its bytes, wherever it lies and whatever it is called."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from inlay.adapters.media.load import load_medium
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.sound import Sound
from inlay.adapters.media.video import Video

__all__ = ["media_digest"]


def media_digest(modality: Modality, source: Any) -> bytes:
    """32 bytes over the file, or over what is in memory as an encoder would be given it.

    Raises:
        MediaError: it cannot be read.

    Example:
        >>> from PIL import Image
        >>> red, blue = (Image.new("RGB", (2, 2), colour) for colour in ("red", "blue"))
        >>> media_digest("image", red) == media_digest("image", blue)
        False
    """
    if isinstance(source, (str, Path)):
        try:
            with Path(source).open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError:
            pass  # said below, in the words of the modality's own reader
    medium = load_medium(modality, source)
    found = hashlib.sha256()
    if isinstance(medium, Sound):
        found.update(f"sound {medium.rate} {medium.samples.dtype} ".encode())
        found.update(np.ascontiguousarray(medium.samples).data)
        return found.digest()
    pictures = medium.frames if isinstance(medium, Video) else (medium,)
    found.update(f"{modality} {medium.fps if isinstance(medium, Video) else 0} ".encode())
    for picture in pictures:
        found.update(f"{picture.mode} {picture.size} ".encode() + picture.tobytes())
    return found.digest()
