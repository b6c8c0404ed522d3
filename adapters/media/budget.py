"""Limits on the cost of reading one medium, as one object for all readers of pictures, sounds and clips.

The header of a small file can state any size: a gigapixel, thousands of passes over a picture, hours of silence. Every
reader compares the header with this budget *before* decoding, and counts again while decoding. Each limit is exact and
independent of the machine, so a file is accepted on all machines or on none.

Reading a picture or sound never takes more than `memory` bytes. A JPEG that would need more is decoded at 1/2, 1/4 or
1/8 of its size; other files that would need more are refused. The default of 200 MB allows

========== ============================================================================================
PNG        50 megapixels of opaque RGB, 25 of anything that is converted or rotated
JPEG       all sizes up to `pixels`, from 50 megapixels on (25 if rotated) at reduced size; progressive
           files also need memory for coefficients: up to 63 (4:2:0) or 32 (4:4:4) megapixels
WebP       12 megapixels (libwebp and Pillow have four copies)
AVIF       12 megapixels; HEIC 25 of 8 bits without alpha, else 12
GIF, TIFF  25 megapixels; BMP 50
sound      50 million samples: 17 minutes at 48 kHz, 52 at 16 kHz (but `seconds` ends at 30)
========== ============================================================================================

Clips take `clip_pixels` of kept frames (134 MB) and the decoder's reference frames (14 MB each for 4K, usually 3 to 5).
Pixels in memory are counted as in Pillow: 4 bytes for RGB.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from inlay.adapters.media.errors import MediaError, TooLargeError

__all__ = ["BUDGET", "LARGE", "REDUCED_PIXELS", "Budget"]

_DOWNSCALE = ", or have it downscaled (--data.downscale true)"


@dataclass(frozen=True)
class Budget:
    """Limits for one medium.

    Example:
        >>> Budget(pixels=100).check_picture((11, 10), "a.png")
        Traceback (most recent call last):
        ...
        inlay.adapters.media.errors.TooLargeError: a.png: 11 x 10 pixels are too many: at most 100 pixels and 65,535 \
on a side; make the picture smaller, or have it downscaled (--data.downscale true)
    """

    file_bytes: int = 1 << 34
    """Size of the file. Files are read in pieces, so this bounds time, not memory."""
    memory: int = 200_000_000
    """Bytes held at once while a picture or a sound is read."""
    pixels: int = 89_478_485
    """Width x height of a picture; the default is Pillow's own limit."""
    side: int = 65_535
    """Longest side of a picture; the default is JPEG's own limit."""
    frames: int = 256
    """Frames that are kept of a clip."""
    frame_pixels: int = 4096 * 2304
    """Width x height of a clip's frames: 4K."""
    clip_pixels: int = 1 << 25
    """Pixels of all kept frames together; larger frames are shrunk."""
    seconds: float = 1800.0
    """Duration of a sound or a clip."""
    work: int = 1 << 30
    """Pixels to decode, over all passes of a progressive picture or all frames of a clip."""
    work_per_byte: int = 1024
    """Additional pixels to decode for each byte of a clip's compressed frames; 0.008 bits per pixel."""

    def check_file(self, file: BinaryIO, name: str) -> int:
        """Size of an open file in bytes; the position is not moved.

        Raises:
            MediaError: empty, or larger than the budget.
        """
        place = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(place)
        if not size:
            raise MediaError(f"{name}: the file is empty")
        if size > self.file_bytes:
            raise MediaError(f"{name}: the file has {size:,} bytes, at most {self.file_bytes:,} are read")
        return size

    def check_picture(self, size: tuple[int, int], name: str) -> None:
        """Compare the width and height of a picture with the budget.

        Raises:
            MediaError: too many pixels, or none.
        """
        width, height = size
        if width * height > self.pixels or max(size) > self.side:
            raise TooLargeError(
                f"{name}: {width} x {height} pixels are too many: at most {self.pixels:,} pixels and {self.side:,} on "
                "a side; make the picture smaller" + ("" if self == LARGE else _DOWNSCALE)
            )
        if min(size) < 1:
            raise MediaError(f"{name}: expected at least one pixel, got {width} x {height}")

    def check_memory(self, needed: float, name: str) -> None:
        """Compare the peak memory in bytes with the budget.

        Raises:
            MediaError: too many.
        """
        if needed > self.memory:
            raise TooLargeError(
                f"{name}: reading this file would take {needed / 1e6:,.0f} MB of memory, at most "
                f"{self.memory / 1e6:,.0f} MB are used; make the picture smaller or allow more (Budget.memory)"
            )

    def check_work(self, pixels: int, what: str, name: str, *, compressed: int = 0) -> None:
        """Compare the pixels to decode, all passes together, with the budget.

        Args:
            pixels: pixels x passes.
            what: the passes, for the error: "12 scans".
            name: the file, for the error.
            compressed: bytes of the compressed frames of a clip.

        Raises:
            MediaError: too many.
        """
        allowed = self.work + self.work_per_byte * compressed
        if pixels > allowed:
            raise TooLargeError(
                f"{name}: {what} make {pixels:,} pixels to decode, at most {allowed:,} are decoded; save the file "
                "again with fewer or smaller ones"
            )

    def check_seconds(self, seconds: float, name: str, kind: str) -> None:
        """Compare a duration with the budget.

        Raises:
            MediaError: too long.
        """
        if seconds > self.seconds:
            raise MediaError(f"{name}: {seconds:.1f} s are too long: at most {self.seconds:.0f} s; cut the {kind}")


BUDGET = Budget()
"""The default."""

LARGE = Budget(pixels=1 << 29, side=1 << 18, memory=1_000_000_000, frame_pixels=8192 * 4608, work=1 << 32)
"""For pictures and clips that are to be downscaled: half a gigapixel, 8K frames and 1 GB are the hard limits."""

REDUCED_PIXELS = 1 << 24
"""Largest number of pixels of a downscaled picture."""
