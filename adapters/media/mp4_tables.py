"""How many samples an MP4's tables claim, before FFmpeg makes room for them.

A table of ISO 14496-12 can speak of billions of samples in twelve bytes (``stsz`` and ``trun`` where all samples are
alike, ``stts`` and ``ctts`` by runs), and FFmpeg makes an entry of some 36 bytes for each when the file is opened. So
the boxes are walked first; only these tables are read, the pictures are skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from inlay.adapters.media.untrusted import MediaError

__all__ = ["check_tables"]

MAX_SAMPLES = 1 << 22
"""Most samples that the tables of one kind may claim together: about 150 MB, an hour at 1,000 a second."""
_INSIDE = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
_RUNS = frozenset({b"stts", b"ctts"})
_MAX_BOXES = 1 << 17


def check_tables(file: BinaryIO, name: str) -> None:
    """Look at every table of samples; the file is at its beginning afterwards.

    Args:
        file: an MP4.
        name: for errors.

    Raises:
        MediaError: they claim more than :data:`MAX_SAMPLES`, or there are too many boxes.
    """
    claimed: dict[bytes, int] = {}
    end = file.seek(0, 2)
    for number, (kind, start, stop) in enumerate(_boxes(file, 0, end)):
        if number > _MAX_BOXES:
            raise MediaError(f"{name}: the file has more than {_MAX_BOXES:,} boxes")
        count = _claim(file, kind, start, stop)
        claimed[kind] = claimed.get(kind, 0) + count
        if claimed[kind] > MAX_SAMPLES:
            raise MediaError(
                f"{name}: its tables claim {claimed[kind]:,} samples, at most {MAX_SAMPLES:,} are taken; cut the clip"
            )
    file.seek(0)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind and contents' place of every box between two places, those inside of others too."""
    pending = [(start, end)]
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
            if kind in _INSIDE:
                pending.append((inner, after))
            place += size


def _claim(file: BinaryIO, kind: bytes, start: int, stop: int) -> int:
    """Samples that a box speaks of; 0 for one that is no table."""
    if kind not in _RUNS | {b"stsz", b"stz2", b"trun"}:
        return 0
    file.seek(start)
    head = file.read(12)
    if kind in (b"stsz", b"stz2"):
        return int.from_bytes(head[8:12], "big")
    count = int.from_bytes(head[4:8], "big")
    if kind == b"trun":
        return count
    file.seek(start + 8)
    table = file.read(min(8 * min(count, MAX_SAMPLES), stop - start - 8))
    return sum(run for run, _ in struct.iter_unpack(">II", table[: len(table) // 8 * 8]))
