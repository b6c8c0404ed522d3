"""Generated media as files or bytes: pictures as PNG, sounds as 16-bit WAV, clips as GIF."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from inlay.adapters.media.audio import Sound
from inlay.adapters.media.load import Medium
from inlay.adapters.media.video import Video

__all__ = ["Encoded", "encoded", "free_name", "save_medium"]


class Encoded(NamedTuple):
    """A medium as the bytes of a file."""

    suffix: str
    """The file suffix, with its dot."""
    type: str
    """The media type."""
    data: bytes


def encoded(medium: Medium) -> Encoded:
    """A picture, a sound or a clip as the bytes of a file."""
    if isinstance(medium, Sound):
        return Encoded(".wav", "audio/wav", _wav(medium))
    if isinstance(medium, Video):
        return Encoded(".gif", "image/gif", _gif(medium))
    buffer = io.BytesIO()
    medium.save(buffer, "PNG")
    return Encoded(".png", "image/png", buffer.getvalue())


def save_medium(medium: Medium, folder: Path, name: str) -> Path:
    """Write one medium.

    Args:
        medium: a picture, a sound or a clip.
        folder: the folder; created if missing.
        name: file name without suffix.

    Returns:
        The path of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = encoded(medium)
    path = folder / f"{name}{whole.suffix}"
    path.write_bytes(whole.data)
    return path


def free_name(folder: Path, stem: str) -> str:
    """``stem-1``, or the first larger number without a file.

    Example:
        >>> free_name(Path("nowhere"), "image")
        'image-1'
    """
    number = 1
    while any(folder.glob(f"{stem}-{number}.*")):
        number += 1
    return f"{stem}-{number}"


def _wav(sound: Sound) -> bytes:
    samples = np.round(np.clip(sound.samples, -1, 1) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def _gif(clip: Video) -> bytes:
    """The bytes of a GIF, whose frame durations are multiples of 10 ms."""
    frames = [frame.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT) for frame in clip.frames]
    duration = max(10, 10 * round(100 / clip.fps))
    how = {"duration": duration, "loop": 0, "disposal": 1, "optimize": False}
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], **how)
    return buffer.getvalue()
