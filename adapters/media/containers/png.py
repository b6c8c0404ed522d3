"""The chunks of a PNG (https://www.w3.org/TR/png-3/): the pixels and how to interpret them, without the rest.

Pillow reports a PNG as damaged if its colour profile or text is larger than a megabyte. Neither is used here, so Pillow
gets only the critical chunks and transparency. Animation chunks are left out too, so the first picture is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from inlay.adapters.media.containers.byte_ranges import ByteRanges
from inlay.adapters.media.untrusted import MediaError

__all__ = ["Png", "read_png"]

_MAX_CHUNKS = 1 << 16
"""Limit on chunks: half a gigabyte in chunks of 8 KiB, the smallest that encoders write."""
_MAX_EXIF = 1 << 16


@dataclass(frozen=True)
class Png:
    """The fields that decide how the file is decoded."""

    pixels: ByteRanges
    """The file without metadata."""
    exif: bytes
    """The EXIF block; empty if there is none."""


def read_png(file: BinaryIO, name: str) -> Png:
    """Walk over all chunks without decoding any; a file that was cut off is left to the decoder.

    Args:
        file: a PNG, at its beginning.
        name: its name, for errors.

    Raises:
        MediaError: too many chunks.
    """
    view, exif, place = ByteRanges(file), b"", 8
    view.add(0, place)
    for _ in range(_MAX_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return Png(view, exif)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        end = place + 12 + length
        if kind == b"eXIf" and length <= _MAX_EXIF:
            exif = file.read(length)
        elif kind == b"tRNS" or not kind[0] & 0x20:  # critical chunks have a capital first letter
            view.add(place, end)
        if kind == b"IEND":
            return Png(view, exif)
        place = end
    raise MediaError(f"{name}: the picture has more than {_MAX_CHUNKS:,} chunks; save it again")
