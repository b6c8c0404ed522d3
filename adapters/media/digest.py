"""What tells one medium from another: its bytes, wherever it lies and whatever it is called."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.sound import Sound
from inlay.adapters.media.video import Video

__all__ = ["media_digest"]


def media_digest(part: MediaPart) -> bytes:
    """32 bytes over the file, or over what is in memory as an encoder would be given it.

    Raises:
        MediaError: it cannot be read.

    Example:
        >>> from PIL import Image
        >>> one, two = (MediaPart("image", Image.new("RGB", (2, 2), colour)) for colour in ("red", "blue"))
        >>> media_digest(one) == media_digest(one), media_digest(one) == media_digest(two)
        (True, False)
    """
    if isinstance(part.source, (str, Path)):
        try:
            with Path(part.source).open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError:
            pass  # said below, in the words of the modality's own reader
    medium = load_medium(part)
    found = hashlib.sha256()
    if isinstance(medium, Sound):
        found.update(f"sound {medium.rate} {medium.samples.dtype} ".encode())
        found.update(np.ascontiguousarray(medium.samples).data)
        return found.digest()
    pictures = medium.frames if isinstance(medium, Video) else (medium,)
    found.update(f"{part.modality} {medium.fps if isinstance(medium, Video) else 0} ".encode())
    for picture in pictures:
        found.update(f"{picture.mode} {picture.size} ".encode() + picture.tobytes())
    return found.digest()
