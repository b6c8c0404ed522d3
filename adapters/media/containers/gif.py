"""The blocks of a GIF (https://www.w3.org/Graphics/GIF/spec-gif89a.txt): its canvas, and whether it is complete.

FFmpeg decodes the available frames and does not report a truncated file.
"""

from __future__ import annotations

from typing import BinaryIO

from inlay.adapters.media.untrusted import MediaError

__all__ = ["check_gif"]

_HEADER, _IMAGE_DESCRIPTOR = 13, 9
_TRAILER, _EXTENSION, _IMAGE, _TERMINATOR = b";", b"!", b",", b"\0"
_MAX_BLOCKS = 1 << 22
"""Limit on blocks of at most 255 bytes: a gigabyte of pictures; walking over this number takes two seconds."""


def check_gif(file: BinaryIO, name: str) -> tuple[int, int]:
    """Walk over all blocks without decoding any; the file is at its beginning before and after.

    Args:
        file: a GIF.
        name: its name, for errors.

    Returns:
        Width and height of the canvas.

    Raises:
        MediaError: no trailer, an unknown block, or millions of blocks.
    """
    header = file.read(_HEADER)
    _skip_colours(file, header[10:11])
    inside = False
    for _ in range(_MAX_BLOCKS):
        byte = file.read(1)
        if inside:  # A length, then that number of bytes; an empty sub-block ends the list.
            inside = byte not in (_TERMINATOR, b"")
            file.seek(byte[0] if byte else 0, 1)
        elif byte == _TRAILER:
            file.seek(0)
            return int.from_bytes(header[6:8], "little"), int.from_bytes(header[8:10], "little")
        elif byte == _EXTENSION:
            file.seek(1, 1)
            inside = True
        elif byte == _IMAGE:
            _skip_colours(file, file.read(_IMAGE_DESCRIPTOR)[8:9])
            file.seek(1, 1)
            inside = True
        elif byte != _TERMINATOR:
            raise MediaError(f"{name}: the clip is {'damaged' if byte else 'cut off: its end is missing'}")
    raise MediaError(f"{name}: the clip has more than {_MAX_BLOCKS:,} blocks")


def _skip_colours(file: BinaryIO, flags: bytes) -> None:
    """Skip a colour table, if the flags indicate one."""
    if flags and flags[0] & 0x80:
        file.seek(3 << ((flags[0] & 7) + 1), 1)
