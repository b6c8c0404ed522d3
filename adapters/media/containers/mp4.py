"""How many samples the tables of an MP4 claim, before FFmpeg allocates an index for them.

A table of ISO 14496-12 can claim billions of samples in twelve bytes (``stsz`` and ``trun`` where all samples are
alike, ``stts`` and ``ctts`` by runs), and FFmpeg allocates some 36 bytes for each when it opens the file. So the boxes
are walked first; only these tables are read, the pictures are skipped. QuickTime can compress the whole header
(``cmov``); it is decompressed here, within a limit, and walked in the same way.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from inlay.adapters.media.untrusted import MediaError

__all__ = ["check_mp4"]

_MAX_SAMPLES = 1 << 22
"""Most samples that the tables of one kind may claim together: about 150 MB of index, an hour at 1,000 a second."""
_MAX_BOXES = 1 << 17
_MAX_HEADER = 1 << 24
"""Bytes of a decompressed header: ten times that of a clip of half an hour."""
_PARENTS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"cmov"})
_RUNS = frozenset({b"stts", b"ctts"})
_TABLES = _RUNS | {b"stsz", b"stz2", b"trun"}


def check_mp4(file: BinaryIO, name: str) -> None:
    """Add up what the tables of samples claim; the file is at its beginning afterwards.

    Args:
        file: an MP4.
        name: for errors.

    Raises:
        MediaError: too many samples, too many boxes, or a compressed header that is too large or damaged.
    """
    claimed: dict[bytes, int] = {}
    pending = [file]
    number = 0
    while pending:
        source = pending.pop()
        for kind, start, stop in _boxes(source):
            number += 1
            if number > _MAX_BOXES:
                raise MediaError(f"{name}: the file has more than {_MAX_BOXES:,} boxes; write it again")
            if kind == b"cmvd":
                if source is not file:
                    raise MediaError(f"{name}: a compressed header inside a compressed header; write the file again")
                pending.append(BytesIO(_decompressed(file, start, stop, name)))
            claimed[kind] = claimed.get(kind, 0) + _claim(source, kind, start, stop)
            if claimed[kind] > _MAX_SAMPLES:
                raise MediaError(
                    f"{name}: its tables claim {claimed[kind]:,} samples, at most {_MAX_SAMPLES:,} are read; cut "
                    "the clip"
                )
    file.seek(0)


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of every box, nested ones included."""
    pending = [(0, file.seek(0, 2))]
    while pending:
        place, stop = pending.pop()
        while place + 8 <= stop:
            file.seek(place)
            head = file.read(16)
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            header = 8
            if size == 1:
                size, header = int.from_bytes(head[8:16], "big"), 16
            elif size == 0:
                size = stop - place
            if size < header:
                break
            inner, after = place + header, min(place + size, stop)
            yield kind, inner, after
            if kind in _PARENTS:
                pending.append((inner, after))
            place += size


def _claim(file: BinaryIO, kind: bytes, start: int, stop: int) -> int:
    """Samples that a box claims; 0 if it is not a table of samples."""
    if kind not in _TABLES:
        return 0
    file.seek(start)
    head = file.read(12)
    if kind in (b"stsz", b"stz2"):
        return int.from_bytes(head[8:12], "big")
    count = int.from_bytes(head[4:8], "big")
    if kind == b"trun":
        return count
    file.seek(start + 8)
    table = file.read(min(8 * min(count, _MAX_SAMPLES), stop - start - 8))
    return sum(run for run, _ in struct.iter_unpack(">II", table[: len(table) // 8 * 8]))


def _decompressed(file: BinaryIO, start: int, stop: int, name: str) -> bytes:
    """The header in a ``cmvd`` box: 4 bytes of its size, then a zlib stream."""
    file.seek(start)
    promised = int.from_bytes(file.read(4), "big")
    if max(promised, stop - start) > _MAX_HEADER:
        raise MediaError(f"{name}: the compressed header is too large: at most {_MAX_HEADER:,} bytes; write it again")
    try:
        header = zlib.decompressobj().decompress(file.read(stop - start - 4), _MAX_HEADER + 1)
    except zlib.error as error:
        raise MediaError(f"{name}: the compressed header is damaged: {error}") from error
    if len(header) > _MAX_HEADER:
        raise MediaError(f"{name}: the compressed header is too large: at most {_MAX_HEADER:,} bytes; write it again")
    return header
