"""Writes media to files: pictures as PNG, sounds as 16-bit WAV, clips as GIF."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from inlay.adapters.media.audio import Sound

if TYPE_CHECKING:
    from pathlib import Path

    from inlay.adapters.media.video import Video

_COLOURS = 128  # of a frame of a GIF; one colour on a plain background needs fewer


def write_medium(medium: Image.Image | Sound | Video, folder: Path, name: str) -> str:
    """Write a medium.

    Args:
        medium: A picture, a sound or a clip.
        folder: An existing folder.
        name: The name of the file without its suffix.

    Returns:
        The name of the file.
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
    """Write a WAV file of one channel with 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(np.round(np.clip(sound.samples, -1, 1) * 32767).astype("<i2").tobytes())


def write_gif(clip: Video, path: Path) -> None:
    """Write a GIF of complete frames, each with its own palette and no dithering; GIF has a time unit of 0.01 s."""
    frames = [
        frame.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) for frame in clip.frames
    ]
    duration = 10 * round(100 / clip.fps)  # milliseconds
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0, disposal=1, optimize=False)
