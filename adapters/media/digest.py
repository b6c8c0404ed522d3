"""A digest of a medium's content, independent of its name and folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from inlay.adapters.media.audio import Sound
from inlay.adapters.media.features import Features
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.sources import EncodedMedium
from inlay.adapters.media.untrusted import opened
from inlay.adapters.media.video import Video

__all__ = ["media_digest"]


def media_digest(modality: Modality, source: Any) -> bytes:
    """SHA-256 of the bytes of an encoded file, or of an object in memory in the form in which an encoder reads it.

    A file and the same bytes in memory have the same digest.

    Raises:
        MediaError: it cannot be read.

    Example:
        >>> from PIL import Image
        >>> red, blue = (Image.new("RGB", (2, 2), colour) for colour in ("red", "blue"))
        >>> media_digest("image", red) == media_digest("image", blue)
        False
    """
    if isinstance(source, (str, Path, bytes, EncodedMedium)):
        with opened(source) as (file, _):
            return hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # has readinto
    medium = load_medium(modality, source)
    digest = hashlib.sha256()
    if isinstance(medium, Sound):
        digest.update(f"sound {medium.rate} {medium.samples.dtype} ".encode())
        digest.update(np.ascontiguousarray(medium.samples).data)
        return digest.digest()
    if isinstance(medium, Features):
        digest.update(f"features {tuple(medium.values.shape)} ".encode() + medium.values.contiguous().numpy().tobytes())
        return digest.digest()
    pictures = medium.frames if isinstance(medium, Video) else (medium,)
    if isinstance(medium, Video) and medium.kept is not None:
        digest.update(f"frames {medium.kept} of {medium.total} ".encode())
    digest.update(f"{modality} {medium.fps if isinstance(medium, Video) else 0} ".encode())
    for picture in pictures:
        digest.update(f"{picture.mode} {picture.size} ".encode() + picture.tobytes())
    return digest.digest()
