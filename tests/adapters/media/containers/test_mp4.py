"""What the tables of an MP4 claim, also in a compressed header. Whole files: ``tests/adapters/media/test_video.py``."""

from __future__ import annotations

import io
import struct
import zlib

import pytest

from inlay.adapters.media.containers.mp4 import check_mp4
from inlay.adapters.media.untrusted import MediaError


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def sizes(samples: int) -> bytes:
    return box(b"moov", box(b"trak", box(b"stsz", struct.pack(">III", 0, 1, samples))))


def compressed(header: bytes, *, promised: int | None = None) -> bytes:
    size = struct.pack(">I", len(header) if promised is None else promised)
    return box(b"moov", box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", size + zlib.compress(header))))


@pytest.mark.parametrize("wrap", [lambda data: data, compressed])
def test_samples_up_to_the_limit_are_taken(wrap: object) -> None:
    file = io.BytesIO(wrap(sizes(1 << 22)))  # type: ignore[operator]
    check_mp4(file, "a.mp4")
    assert file.tell() == 0
    with pytest.raises(MediaError, match=r"a\.mp4: its tables claim 4,194,305 samples"):
        check_mp4(io.BytesIO(wrap(sizes((1 << 22) + 1))), "a.mp4")  # type: ignore[operator]


def test_tracks_are_added_up() -> None:
    with pytest.raises(MediaError, match="6,000,000 samples"):
        check_mp4(io.BytesIO(sizes(3_000_000) + compressed(sizes(3_000_000))), "a.mp4")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (compressed(bytes((1 << 24) + 1), promised=100), "too large"),
        (compressed(b"", promised=1 << 31), "too large"),
        (compressed(sizes(1)).replace(b"\x78\x9c", b"\0\0"), "damaged"),
        (compressed(compressed(sizes(1))), "inside a compressed header"),
    ],
)
def test_a_compressed_header_that_is_no_header_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        check_mp4(io.BytesIO(data), "a.mp4")
