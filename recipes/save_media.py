"""Media that a model made, as files: pictures as PNG, sounds as 16-bit WAV, clips as GIF."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from PIL import Image

from inlay.adapters.medium import Medium
from inlay.adapters.sound import Sound
from inlay.adapters.video import Video

__all__ = ["free_name", "save_medium"]


def save_medium(medium: Medium, folder: Path, name: str) -> Path:
    """Write one medium.

    Args:
        medium: a picture, a sound or a clip.
        folder: where to; made if it is not there.
        name: of the file, without its ending.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(medium, Sound):
        return _wav(medium, folder / f"{name}.wav")
    if isinstance(medium, Video):
        return _gif(medium, folder / f"{name}.gif")
    path = folder / f"{name}.png"
    medium.save(path)
    return path


def free_name(folder: Path, stem: str) -> str:
    """``stem-1``, or the first number behind it of which no file is there yet.

    Example:
        >>> free_name(Path("nowhere"), "image")
        'image-1'
    """
    number = 1
    while any(folder.glob(f"{stem}-{number}.*")):
        number += 1
    return f"{stem}-{number}"


def _wav(sound: Sound, path: Path) -> Path:
    samples = np.round(np.clip(sound.samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(samples.tobytes())
    return path


def _gif(clip: Video, path: Path) -> Path:
    """A GIF counts time in hundredths of a second."""
    frames = [frame.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT) for frame in clip.frames]
    duration = max(10, 10 * round(100 / clip.fps))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0, disposal=1, optimize=False)
    return path
