"""The blocks of a GIF, from head to end mark: of one that was cut off FFmpeg plays what is there, without a word."""

from __future__ import annotations

from typing import BinaryIO

from inlay.adapters.media.untrusted import MediaError

__all__ = ["check_blocks"]

_HEAD, _PICTURE = 13, 9
_END, _EXTENSION, _IMAGE, _FILL = b";", b"!", b",", b"\0"
_MOST = 1 << 22
"""Blocks of at most 255 bytes: a gigabyte of pictures, and two seconds for a file that has them smaller."""


def check_blocks(file: BinaryIO, name: str) -> None:
    """Walk over all blocks without decoding any; the file is at its beginning before and after.

    Args:
        file: a GIF.
        name: for the error.

    Raises:
        MediaError: the end mark is not there, something that is no block, or millions of blocks.
    """
    _skip_table(file, file.read(_HEAD)[10:11])
    inside = False
    for _ in range(_MOST):
        byte = file.read(1)
        if inside:  # Its length, then so many bytes; a block of none is the last.
            inside = byte not in (_FILL, b"")
            file.seek(byte[0] if byte else 0, 1)
        elif byte == _END:
            file.seek(0)
            return
        elif byte == _EXTENSION:
            file.seek(1, 1)
            inside = True
        elif byte == _IMAGE:
            _skip_table(file, file.read(_PICTURE)[8:9])
            file.seek(1, 1)
            inside = True
        elif byte != _FILL:
            raise MediaError(f"{name}: the clip is {'damaged' if byte else 'cut off: its end is missing'}")
    raise MediaError(f"{name}: the clip has more than {_MOST:,} blocks")


def _skip_table(file: BinaryIO, flags: bytes) -> None:
    """Over a table of colours, if the flags say that there is one."""
    if flags and flags[0] & 0x80:
        file.seek(3 << ((flags[0] & 7) + 1), 1)
