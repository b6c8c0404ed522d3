"""Recovers the attributes of pictures, sounds and clips by signal analysis, without a neural network.

Pictures: the background is the median of the border, and pixels that differ from it are the object. The colour is the
nearest of the world's colours. The shape is the one whose outline, painted at the object's place and size and at the
best of several angles, has the largest overlap. Clips: every frame is analysed as a picture, and the path of the
object's centre gives the direction. Sounds: the envelope gives the beeps; their spectrum gives the pitch (the lowest
strong peak) and the timbre (the share of energy above the fundamental).

The result is None for an empty picture or silence, and the direction is None if the object does not move.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from inlay.recipes.miniature.media.clips import RADIUS
from inlay.recipes.miniature.media.sounds import HERTZ, SPACING
from inlay.recipes.miniature.world.drawing import RGB, ROUND, paint
from inlay.recipes.miniature.world.scenes import SHAPES

if TYPE_CHECKING:
    from inlay.adapters.media.audio import Sound
    from inlay.adapters.media.video import Video

    Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_LEAST_CONTRAST = 40.0  # distance in RGB; a picture with less is empty
_LEAST_AREA = 0.02  # of the picture
_CORE = 0.6  # share of the largest contrast; a pixel with more belongs to the object
_TEMPLATE = 48  # side in pixels of the outlines that are compared
_TURNS = (-10, -5, 0, 5, 10)  # degrees
_LEAST_TRAVEL = 0.12  # of the side, from the first frame to the last
_SILENCE = 0.01  # root mean square of the loudest moment
_FRAME, _HOP = 256, 128  # samples at 16 kHz of the envelope, 16 and 8 ms
_SHORTEST, _GAP = 0.05, 0.04  # seconds of the shortest beep and of the shortest pause
_LONG = 0.5  # seconds; a longer beep is long


@dataclass(frozen=True, slots=True)
class PictureReading:
    """The attributes of a picture."""

    size: str
    """One of `SIZES`."""
    colour: str
    """One of `COLOURS`."""
    shape: str
    """One of `SHAPES`."""
    x: float
    """Horizontal position of the centre, 0 at the left edge and 1 at the right."""
    y: float
    """Vertical position of the centre, 0 at the top edge and 1 at the bottom."""


@dataclass(frozen=True, slots=True)
class ClipReading:
    """The attributes of a clip."""

    colour: str
    """One of `COLOURS`, in most frames."""
    shape: str
    """One of `SHAPES`, in most frames."""
    direction: str | None
    """One of `DIRECTIONS`; None if the shape does not move, or moves diagonally."""


@dataclass(frozen=True, slots=True)
class SoundReading:
    """The attributes of a sound."""

    rhythm: str | None
    """One of `RHYTHMS`; None for another number of beeps, or one short beep."""
    pitch: str
    """One of `PITCHES`."""
    timbre: str
    """One of `TIMBRES`."""


def read_picture(picture: Image.Image) -> PictureReading | None:
    """Read a picture of one shape.

    Args:
        picture: A shape on a plain light background, of any size.

    Returns:
        The attributes, or None for an empty picture.
    """
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float64)
    height, width = pixels.shape[:2]
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    contrast = np.linalg.norm(pixels - np.median(border, axis=0), axis=-1)
    strongest = float(np.quantile(contrast, 1 - _LEAST_AREA))
    if strongest < _LEAST_CONTRAST:
        return None
    cover = np.clip(contrast / strongest, 0, 1)
    core = contrast > _CORE * strongest
    colour = np.median(pixels[core], axis=0)
    name = min(RGB, key=lambda known: float(np.linalg.norm(np.array(RGB[known]) - colour)))
    rows, columns = (np.flatnonzero((cover > 0.5).any(axis)) for axis in (1, 0))
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    side = max(box[2] - box[0], box[3] - box[1])
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    shape = _shape_of(cover, x, y, side)
    size = "small" if side / 2 < sum(RADIUS.values()) / 2 * max(height, width) * _EXTENT[shape] else "large"
    return PictureReading(size, name, shape, x / width, y / height)


_EXTENT = {"circle": 1.0, "ring": 1.0, "square": 0.9, "cross": 1.03, "star": 1.0, "triangle": 0.95}
"""Half the larger side of a shape's box, in units of its radius."""


def _shape_of(cover: Array, x: float, y: float, side: int) -> str:
    """The shape whose outline has the largest overlap with `cover`, the object's share of each pixel."""
    found = _window(Image.fromarray((255 * cover).astype(np.uint8)), x, y, side)
    overlaps = {
        shape: max(
            float(np.minimum(found, outline).sum() / np.maximum(found, outline).sum()) for outline in _outlines(shape)
        )
        for shape in SHAPES
    }
    return max(overlaps, key=lambda shape: overlaps[shape])


@cache
def _outlines(shape: str) -> tuple[Array, ...]:
    """The outlines of a shape at several angles, each fitted to its bounding box like the object."""
    outlines = []
    for angle in (0,) if shape in ROUND else _TURNS:
        painted = Image.new("RGB", (256, 256))
        paint(ImageDraw.Draw(painted), shape, (128, 128), 80, (255, 255, 255), (0, 0, 0), angle)
        image = painted.convert("L")
        left, top, right, bottom = image.getbbox() or (0, 0, 256, 256)
        side = max(right - left, bottom - top)
        outlines.append(_window(image, (left + right) / 2, (top + bottom) / 2, side))
    return tuple(outlines)


def _window(image: Image.Image, x: float, y: float, side: int) -> Array:
    """A square around an object of this side, scaled to the size of the outlines, 0 to 1."""
    half = 0.58 * side
    box = (x - half, y - half, x + half, y + half)
    window = image.transform((_TEMPLATE, _TEMPLATE), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    return np.asarray(window, dtype=np.float64) / 255


def read_clip(clip: Video) -> ClipReading | None:
    """Read a clip of one moving shape.

    Args:
        clip: At least two frames.

    Returns:
        The attributes, or None if more than half of the frames are empty.
    """
    seen = [read_picture(frame) for frame in clip.frames]
    there = [(number, one) for number, one in enumerate(seen) if one]
    if len(there) < 2 or 2 * len(there) < len(seen):
        return None
    colour = Counter(one.colour for _, one in there).most_common(1)[0][0]
    shape = Counter(one.shape for _, one in there).most_common(1)[0][0]
    numbers = np.array([number for number, _ in there], dtype=np.float64)
    ways = [float(np.polyfit(numbers, [getattr(one, axis) for _, one in there], 1)[0]) for axis in ("x", "y")]
    right, down = (way * (len(seen) - 1) for way in ways)
    if max(abs(right), abs(down)) < _LEAST_TRAVEL or min(abs(right), abs(down)) > 0.5 * max(abs(right), abs(down)):
        return ClipReading(colour, shape, None)
    if abs(right) > abs(down):
        return ClipReading(colour, shape, "right" if right > 0 else "left")
    return ClipReading(colour, shape, "down" if down > 0 else "up")


def read_sound(sound: Sound) -> SoundReading | None:
    """Read a sound of beeps.

    Args:
        sound: At any rate.

    Returns:
        The attributes, or None for silence.
    """
    samples = sound.samples.astype(np.float64)
    frame, hop = (round(length * sound.rate / 16000) for length in (_FRAME, _HOP))
    if len(samples) < 2 * frame:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(samples, frame)[::hop]
    envelope = np.sqrt((windows**2).mean(1))
    loudest = float(np.quantile(envelope, 0.95))
    if loudest < _SILENCE:
        return None
    beeps = _beeps(envelope > 0.35 * loudest, hop / sound.rate)
    fundamental, above, far_above = _spectrum(samples, envelope, loudest, hop, sound.rate)
    pitch = min(HERTZ, key=lambda name: abs(float(np.log(HERTZ[name] / fundamental))))
    timbre = "pure" if above < 0.12 else "buzzing" if far_above > 0.08 else "bright"
    return SoundReading(_rhythm(beeps), pitch, timbre)


def _beeps(loud: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], seconds: float) -> list[tuple[float, float]]:
    """Starts and lengths in seconds; short pauses are bridged, short noises dropped."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8))) * seconds
    merged: list[list[float]] = []
    for start, stop in edges.reshape(-1, 2):
        if merged and start - merged[-1][1] < _GAP:
            merged[-1][1] = stop
        else:
            merged.append([start, stop])
    return [(start, stop - start) for start, stop in merged if stop - start >= _SHORTEST]


def _rhythm(beeps: list[tuple[float, float]]) -> str | None:
    if len(beeps) == 1:
        return "one long" if beeps[0][1] > _LONG else None
    if len(beeps) not in (2, 3):
        return None
    spacing = (beeps[-1][0] - beeps[0][0]) / (len(beeps) - 1)
    tempo = "fast" if spacing < (SPACING["fast"] * SPACING["slow"]) ** 0.5 else "slow"
    return f"{'two' if len(beeps) == 2 else 'three'} {tempo}"


def _spectrum(samples: Array, envelope: Array, loudest: float, hop: int, rate: int) -> tuple[float, float, float]:
    """The fundamental in Hz; the shares of energy above 1.5 and 4.5 times it."""
    length = 8 * hop  # 64 ms
    starts = np.flatnonzero(envelope > 0.5 * loudest) * hop
    starts = starts[starts + length <= len(samples)]
    if not len(starts):
        starts = np.array([max(0, min(int(envelope.argmax()) * hop, len(samples) - length))])
    pieces = np.stack([samples[start : start + length] for start in starts])
    pieces = pieces * np.hanning(pieces.shape[1])
    power = (np.abs(np.fft.rfft(pieces, 4 * length)) ** 2).mean(0)
    hertz = np.fft.rfftfreq(4 * length, 1 / rate)
    power[hertz < 80] = 0
    fundamental = float(hertz[np.flatnonzero(power > 0.2 * power.max())[0] :][0])
    near = (hertz > fundamental) & (hertz < 1.2 * fundamental + 20)
    fundamental = float(hertz[near][power[near].argmax()]) if near.any() else fundamental
    total = float(power.sum())
    above, far_above = (float(power[hertz > factor * fundamental].sum()) / total for factor in (1.5, 4.5))
    return fundamental, above, far_above
