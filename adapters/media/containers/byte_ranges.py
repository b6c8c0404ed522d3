"""A view of a file that contains only selected byte ranges.

Decoders get such a view, without unused metadata and without bytes that were not checked before.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from typing import BinaryIO

__all__ = ["ByteRanges"]


class ByteRanges(io.RawIOBase):
    """A read-only file composed of ranges of another file; only the offsets of the ranges are in memory.

    Example:
        >>> view = ByteRanges(io.BytesIO(b"0123456789"))
        >>> view.add(1, 3), view.add(6, 8)
        (None, None)
        >>> view.read()
        b'1267'
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._starts: list[int] = []  # in this view
        self._sources: list[int] = []  # in the file
        self._size = self._place = 0

    def add(self, start: int, stop: int) -> None:
        """Append the bytes from `start` to `stop`."""
        if stop <= start:
            return
        if not self._starts or self._sources[-1] + self._size - self._starts[-1] != start:
            self._starts.append(self._size)
            self._sources.append(start)
        self._size += stop - start

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in this view."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position in this view."""
        self._place = max(0, offset + (0, self._place, self._size)[whence])
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        left = self._size - self._place if size is None or size < 0 else min(size, self._size - self._place)
        pieces: list[bytes] = []
        while left > 0:
            index = bisect_right(self._starts, self._place) - 1
            end = self._starts[index + 1] if index + 1 < len(self._starts) else self._size
            self._file.seek(self._sources[index] + self._place - self._starts[index])
            piece = self._file.read(min(left, end - self._place))
            if not piece:
                break
            pieces.append(piece)
            self._place += len(piece)
            left -= len(piece)
        return b"".join(pieces)
