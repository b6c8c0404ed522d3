"""Media as pictures for a page: an enlarged picture, the spectrogram of a sound, a film strip of a clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inlay.adapters.media.audio import Sound
from inlay.adapters.media.load import Medium
from inlay.adapters.media.video import Video

__all__ = ["as_picture", "film_strip", "spectrogram"]

SIDE = 128
"""Minimum pixels of the shorter side."""
_DECIBELS = 70.0
_STOPS = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""Colours from silent to loud."""


def as_picture(medium: Medium) -> Image.Image:
    """An RGB picture of any medium.

    Example:
        >>> as_picture(Image.new("RGB", (32, 32))).size
        (128, 128)
    """
    if isinstance(medium, Sound):
        return spectrogram(medium)
    return film_strip(medium) if isinstance(medium, Video) else _enlarged(medium)


def spectrogram(sound: Sound, *, height: int = SIDE, window: float = 0.032) -> Image.Image:
    """A spectrogram: time to the right, frequency upwards to half the rate, 70 dB of loudness as colour.

    Args:
        sound: a sound of any length; an empty one gives a black picture.
        height: height of the picture in pixels.
        window: window length in seconds; the hop is a quarter of it.
    """
    size = max(16, round(window * sound.rate))
    samples = np.pad(sound.samples.astype(np.float64), (0, max(0, size - len(sound.samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: max(1, size // 4)] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=-1)).T ** 2
    decibels = 10 * np.log10(np.maximum(power, 1e-12))
    scaled = np.clip(1 + (decibels - max(decibels.max(), 0.0)) / _DECIBELS, 0, 1)
    picture = Image.fromarray(_coloured(scaled[::-1]))
    width = max(1, round(picture.width * height / picture.height)) if picture.width < picture.height else picture.width
    return picture.resize((max(width, height), height), Image.Resampling.BILINEAR)


def film_strip(clip: Video, *, gap: int = 4, most: int = 8) -> Image.Image:
    """Frames from left to right, at most ``most``, evenly spaced."""
    chosen = np.linspace(0, len(clip.frames) - 1, min(most, len(clip.frames))).round().astype(int)
    frames = [_enlarged(clip.frames[index], SIDE // 2) for index in chosen]
    width = sum(frame.width for frame in frames) + gap * (len(frames) + 1)
    strip = Image.new("RGB", (width, frames[0].height + 2 * gap), (20, 20, 20))
    left = gap
    for frame in frames:
        strip.paste(frame, (left, gap))
        left += frame.width + gap
    return strip


def _coloured(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Values 0..1 ``[h, w]`` -> colours ``[h, w, 3]``."""
    places = np.linspace(0, 1, len(_STOPS))
    channels = [np.interp(values, places, [stop[channel] for stop in _STOPS]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _enlarged(picture: Image.Image, side: int = SIDE) -> Image.Image:
    factor = max(1, -(-side // min(picture.size)))
    size = (picture.width * factor, picture.height * factor)
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST)
