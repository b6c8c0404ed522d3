"""The blocks of a GIF, from head to end mark: of one that was cut off FFmpeg plays what is there, without a word."""

from __future__ import annotations

from typing import BinaryIO

from inlay.adapters.media_file import MediaError

__all__ = ["check_blocks"]

_HEAD, _PICTURE = 13, 9
_END, _EXTENSION, _IMAGE, _FILL = b";", b"!", b",", b"\0"


def check_blocks(file: BinaryIO, name: str) -> None:
    """Walk over all blocks without decoding any; the file is at its beginning before and after.

    Args:
        file: a GIF.
        name: for the error.

    Raises:
        MediaError: the end mark is not there, or something that is no block.
    """
    _skip_table(file, file.read(_HEAD)[10:11])
    while (kind := file.read(1)) != _END:
        if kind == _EXTENSION:
            file.seek(1, 1)
        elif kind == _IMAGE:
            _skip_table(file, file.read(_PICTURE)[8:9])
            file.seek(1, 1)
        elif kind == _FILL:
            continue
        else:
            raise MediaError(f"{name}: the clip is {'damaged' if kind else 'cut off: its end is missing'}")
        while size := file.read(1):
            if size == _FILL:
                break
            file.seek(size[0], 1)
    file.seek(0)


def _skip_table(file: BinaryIO, flags: bytes) -> None:
    """Over a table of colours, if the flags say that there is one."""
    if flags and flags[0] & 0x80:
        file.seek(3 << ((flags[0] & 7) + 1), 1)
