"""Pictures and clips whose pixels are known, for the tests of media."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from inlay.adapters.media.video import Video

__all__ = ["BLUE", "CLIPS", "RED", "WHITE", "Save", "grey", "halves", "near", "seen"]

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)

Save = Callable[..., Path]
STEP = 8
CLIPS = {
    "a.mp4": ("libx264", "mp4", "yuv420p"),
    "b.mp4": ("mpeg4", "mp4", "yuv420p"),
    "a.webm": ("libvpx-vp9", "webm", "yuv420p"),
    "b.webm": ("libvpx", "webm", "yuv420p"),
    "a.mkv": ("libx264", "matroska", "yuv420p"),
}
"""File name -> codec, container, pixel format."""


def halves(mode: str = "RGB", size: tuple[int, int] = (16, 8)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def near(pixel: Any, colour: tuple[int, int, int], tolerance: int = 8) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=True))


def grey(index: int) -> int:
    """Brightness by which a frame is known again."""
    return 10 + STEP * index % 240


def seen(video: Video) -> list[int]:
    """Which frames they are, by their brightness."""
    return [round((frame.getpixel((8, 8))[0] - 10) / STEP) for frame in video.frames]
