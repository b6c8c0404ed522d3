"""Counting the samples that the tables of an MP4 state, before FFmpeg allocates an index for them.

A table of ISO 14496-12 can state billions of samples in twelve bytes (``stsz`` and ``trun`` if all samples have one
size, ``stts`` and ``ctts`` by runs), and FFmpeg allocates about 36 bytes for each when it opens the file. So the boxes
are walked first; only these tables are read, the pictures are skipped. QuickTime can compress the whole header
(``cmov``); it is decompressed here, within a limit, and walked in the same way.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inlay.adapters.media.untrusted import MediaError

__all__ = ["check_mp4"]

Table: TypeAlias = NDArray[np.int64]

_MAX_SAMPLES = 1 << 22
"""Limit on the samples in all tables of one kind: about 150 MB of index, an hour at 1,000 per second."""
_MAX_BOXES = 1 << 17
_MAX_ROWS = _MAX_SAMPLES + 1
"""Limit on the rows that are read of one table: a row stands for at least one sample."""
_MAX_HEADER = 1 << 24
"""Limit on the bytes of a decompressed header: ten times that of a clip of half an hour."""
_PARENTS = frozenset({b"moov", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"cmov"})
_PER_ENTRY = 160
"""Smallest number of samples of uncompressed sound that share an entry of FFmpeg's index."""


def check_mp4(file: BinaryIO, name: str) -> None:
    """Add up the sample counts in all tables; the file is at its beginning afterwards.

    Args:
        file: an MP4.
        name: its name, for errors.

    Raises:
        MediaError: too many samples, too many boxes, or a compressed header that is too large or damaged.
    """
    _Walk(name).file(file, compressed=False)
    file.seek(0)


class _Walk:
    """Boxes and samples counted so far, over all headers of one file."""

    def __init__(self, name: str) -> None:
        self.name, self.seen = name, 0
        self.claimed: dict[bytes, int] = {}

    def file(self, file: BinaryIO, *, compressed: bool) -> None:
        """Walk over a file, or over a compressed header in it."""
        regions = [(0, file.seek(0, 2))]
        while regions:
            regions += self.region(file, *regions.pop(), compressed)

    def region(self, file: BinaryIO, start: int, stop: int, compressed: bool) -> list[tuple[int, int]]:
        """Count the tables of one track, or those outside of tracks, and return the tracks inside.

        The tables of uncompressed sound count every sample, 48,000 per second; FFmpeg indexes it chunk by chunk.
        """
        tracks: list[tuple[int, int]] = []
        handlers: set[bytes] = set()
        runs: list[Table] = []  # samples, duration of each
        groups: list[Table] = []  # first chunk, samples of a chunk, description
        sizes = composition = chunks = 0
        for kind, inner, after in self.boxes(file, start, stop):
            if kind == b"trak":
                tracks.append((inner, after))
            elif kind == b"cmvd":
                if compressed:
                    raise MediaError(
                        f"{self.name}: a compressed header inside a compressed header; write the file again"
                    )
                self.file(BytesIO(_decompressed(file, inner, after, self.name)), compressed=True)
            elif kind == b"trun":
                self.claim(kind, _number(file, inner + 4))
            elif kind == b"hdlr":
                file.seek(inner + 8)
                handlers.add(file.read(4))
            elif kind in (b"stsz", b"stz2"):
                sizes += _number(file, inner + 8)
            elif kind in (b"stco", b"co64"):
                chunks += min(_number(file, inner + 4), (after - inner) // 4)
            elif kind == b"stsc":
                groups.append(_table(file, inner, after, 3))
            elif kind == b"ctts":
                composition += int(_table(file, inner, after, 2)[:, 0].sum())
            elif kind == b"stts":
                runs.append(_table(file, inner, after, 2))
        sound = b"soun" in handlers and b"vide" not in handlers
        if sound and len(runs) == 1 and runs[0][:, 1].tolist() == [1]:
            self.claim(b"stsc", sum(_indexed(table, chunks) for table in groups))
        else:
            self.claim(b"stsz", sizes)
            self.claim(b"stts", sum(int(table[:, 0].sum()) for table in runs))
        self.claim(b"ctts", composition)
        return tracks

    def claim(self, kind: bytes, samples: int) -> None:
        """Add to the count of one kind of table."""
        self.claimed[kind] = self.claimed.get(kind, 0) + samples
        if self.claimed[kind] > _MAX_SAMPLES:
            raise MediaError(
                f"{self.name}: its tables state {self.claimed[kind]:,} samples, at most {_MAX_SAMPLES:,} are read; cut "
                "the clip"
            )

    def boxes(self, file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
        """Kind, start and end of the content of every box between two offsets; boxes in tracks are left out."""
        pending = [(start, stop)]
        while pending:
            place, end = pending.pop()
            while place + 8 <= end:
                self.seen += 1
                if self.seen > _MAX_BOXES:
                    raise MediaError(f"{self.name}: the file has more than {_MAX_BOXES:,} boxes; write it again")
                file.seek(place)
                head = file.read(16)
                size, kind = int.from_bytes(head[:4], "big"), head[4:8]
                header = 8
                if size == 1:
                    size, header = int.from_bytes(head[8:16], "big"), 16
                elif size == 0:
                    size = end - place
                if size < header:
                    break
                inner, after = place + header, min(place + size, end)
                yield kind, inner, after
                if kind in _PARENTS:
                    pending.append((inner, after))
                place += size


def _number(file: BinaryIO, place: int) -> int:
    file.seek(place)
    return int.from_bytes(file.read(4), "big")


def _table(file: BinaryIO, start: int, stop: int, columns: int) -> Table:
    """Rows of a table, ``[rows, columns]``: 4 bytes of version and flags, 4 of their number, 4 for each value."""
    rows = min(_number(file, start + 4), max(0, stop - start - 8) // (4 * columns), _MAX_ROWS)
    data = file.read(4 * rows * columns)
    return np.frombuffer(data[: len(data) // (4 * columns) * 4 * columns], ">u4").reshape(-1, columns).astype(np.int64)


def _indexed(groups: Table, chunks: int) -> int:
    """Entries of the index of uncompressed sound: first chunk of a group of chunks, samples of each, description."""
    first, samples = groups[:, 0], groups[:, 1]
    ends = np.minimum(np.append(first[1:], chunks + 1), chunks + 1)
    return int((np.maximum(0, ends - first) * -(-samples // _PER_ENTRY)).sum()) if len(groups) else 0


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
