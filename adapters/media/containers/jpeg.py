"""The segments of a JPEG (ITU T.81, annex B): size, number of scans, orientation, and a view without metadata.

A progressive JPEG is decoded in scans, each of which visits all blocks of the picture and can have as few as a hundred
bytes: a file of 0.4 MB can require 4,000 passes over 88 megapixels. So the scans are counted first. The decoder then
gets only the counted segments, without comments, colour profiles, thumbnails and EXIF.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

from inlay.adapters.media.containers.byte_ranges import ByteRanges
from inlay.adapters.media.untrusted import MediaError

__all__ = ["Jpeg", "read_jpeg"]

_SOI, _EOI, _SOS, _DHT, _DAC, _DQT, _DRI = 0xD8, 0xD9, 0xDA, 0xC4, 0xCC, 0xDB, 0xDD
_JPG, _TEM, _APP0, _APP1, _APP14 = 0xC8, 0x01, 0xE0, 0xE1, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, _JPG, _DAC}
_KEPT = _FRAMES | {_SOS, _DHT, _DAC, _DQT, _DRI, _APP0, _APP14}  # APP0 and APP14 name the colour space
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_MAX_SEGMENTS = 1 << 14
_PIECE = 1 << 20


@dataclass
class Jpeg:
    """The fields that decide how the file is decoded."""

    pixels: ByteRanges
    """The file without metadata."""
    exif: bytes = b""
    """The first EXIF block; empty if there is none."""
    size: tuple[int, int] = (0, 0)
    """Width and height."""
    scans: int = 0
    """Passes over the picture."""
    progressive: bool = False
    """Whether the JPEG is progressive."""
    samples: float = 0.0
    """Samples of all components for each pixel: 3 for 4:4:4, 1.5 for 4:2:0."""

    @property
    def coefficient_bytes(self) -> float:
        """Bytes that the decoder needs besides the picture: 16 bits per sample if there is more than one scan."""
        several = self.progressive or self.scans > 1
        return 2 * self.samples * self.size[0] * self.size[1] if several else 0.0


def read_jpeg(file: BinaryIO, name: str) -> Jpeg:
    """Walk over all segments without decoding any; a file that was cut off is left to the decoder.

    Args:
        file: a JPEG, at its beginning.
        name: its name, for errors.

    Raises:
        MediaError: too many segments.
    """
    found = Jpeg(ByteRanges(file))
    found.pixels.add(0, 2)
    place = 2
    for _ in range(_MAX_SEGMENTS):
        marker, start = _next_marker(file, place)
        # Bytes before a marker are entropy-coded data after a scan, and junk elsewhere.
        if found.scans:
            found.pixels.add(place, start)
        if marker == _EOI:
            found.pixels.add(start, start + 2)
        if marker in (None, _EOI):
            return found
        if marker in (_SOI, _TEM):
            place = start + 2
            continue
        file.seek(start + 2)
        length = int.from_bytes(file.read(2), "big")
        place = start + 2 + max(2, length)
        if marker in _KEPT:
            found.pixels.add(start, place)
        if marker == _SOS:
            found.scans += 1
        elif marker == _APP1 and not found.exif:
            block = file.read(max(0, length - 2))
            found.exif = block if block.startswith(b"Exif\0\0") else b""
        elif marker in _FRAMES and not found.samples:
            _read_frame(found, file.read(max(0, length - 2)), marker in _PROGRESSIVE)
    raise MediaError(f"{name}: the picture has more than {_MAX_SEGMENTS:,} segments; save it again")


def _next_marker(file: BinaryIO, place: int) -> tuple[int | None, int]:
    """The next marker outside entropy-coded data, and its position; ``None`` at the end of the file."""
    size = 1 << 6  # markers are adjacent, or far apart
    while True:
        file.seek(place)
        piece = file.read(size)
        if match := _MARKER.search(piece):
            return piece[match.start() + 1], place + match.start()
        if len(piece) < size:
            return None, place + len(piece)
        place += len(piece) - 1  # the last byte may be the first half of a marker
        size = min(4 * size, _PIECE)


def _read_frame(found: Jpeg, frame: bytes, progressive: bool) -> None:
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    factors = [(byte >> 4, byte & 15) for byte in frame[7::3]]
    most = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
    found.size, found.progressive = (width, height), progressive
    found.samples = sum(across * down for across, down in factors) / max(1, most)
