"""The orientation tag of an EXIF block (CIPA DC-008, section 4.6.4), and nothing else of it.

An EXIF block is a TIFF file: a list of tags that point to bytes anywhere in it, possibly overlapping, so that 64 KB can
describe gigabytes. Only one tag of two bytes is needed here, so no other is read.
"""

from __future__ import annotations

import struct

__all__ = ["orientation"]

_ORIENTATION = 0x0112
_FORMATS = {1: "B", 3: "H", 4: "I"}


def orientation(block: bytes) -> int:
    r"""The orientation, 1 to 8; 1 (upright) if the block has none or is damaged, as in image viewers.

    Args:
        block: an EXIF block, with or without its prefix ``Exif\0\0``.

    Example:
        >>> orientation(b"MM\0*" + bytes([0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]))
        6
    """
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (place,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, place)
        for index in range(count):
            entry = place + 2 + 12 * index
            tag, kind, values = struct.unpack_from(f"{order}HHI", block, entry)
            if tag == _ORIENTATION and kind in _FORMATS and values == 1:
                (value,) = struct.unpack_from(order + _FORMATS[kind], block, entry + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass  # cut off
    return 1
