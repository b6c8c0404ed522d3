"""Writes what the miniature shows and plays: pictures as PNG, sounds as 16-bit WAV, clips as GIF."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from inlay.adapters.media.audio import Sound

if TYPE_CHECKING:
    from pathlib import Path

    from inlay.adapters.media.video import Video

_COLOURS = 128  # of a frame of a GIF; what is drawn in one colour on plain ground needs fewer


def write_medium(medium: Image.Image | Sound | Video, folder: Path, name: str) -> str:
    """Write a medium.

    Args:
        medium: A picture, a sound or a clip.
        folder: Where to; it exists.
        name: The file's name without its ending.

    Returns:
        The file's name.
    """
    if isinstance(medium, Image.Image):
        medium.save(folder / f"{name}.png")
        return f"{name}.png"
    if isinstance(medium, Sound):
        write_wav(medium, folder / f"{name}.wav")
        return f"{name}.wav"
    write_gif(medium, folder / f"{name}.gif")
    return f"{name}.gif"


def write_wav(sound: Sound, path: Path) -> None:
    """One channel of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(np.round(np.clip(sound.samples, -1, 1) * 32767).astype("<i2").tobytes())


def write_gif(clip: Video, path: Path) -> None:
    """Every frame whole, with its own palette and no dithering; a GIF counts time in hundredths of a second."""
    frames = [
        frame.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) for frame in clip.frames
    ]
    duration = 10 * round(100 / clip.fps)  # milliseconds
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0, disposal=1, optimize=False)
