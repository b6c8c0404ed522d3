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
    file = io.BytesIO(wrap(sizes(1 << 22)))
    check_mp4(file, "a.mp4")
    assert file.tell() == 0
    with pytest.raises(MediaError, match=r"a\.mp4: its tables state 4,194,305 samples"):
        check_mp4(io.BytesIO(wrap(sizes((1 << 22) + 1))), "a.mp4")


@pytest.mark.parametrize("parent", [b"moov", b"trak", b"stbl"])
def test_tables_count_wherever_they_stand(parent: bytes) -> None:
    inner = box(b"stsz", struct.pack(">III", 0, 1, 5_000_000))
    for wrapped in (box(b"moov", box(parent, inner)), box(b"moov", box(b"trak", box(parent, inner)))):
        with pytest.raises(MediaError, match="5,000,000 samples"):
            check_mp4(io.BytesIO(wrapped), "a.mp4")


def test_tracks_are_added_up() -> None:
    with pytest.raises(MediaError, match="6,000,000 samples"):
        check_mp4(io.BytesIO(sizes(3_000_000) + compressed(sizes(3_000_000))), "a.mp4")


def track(handler: bytes, *, samples: int, per_chunk: int, duration: int = 1) -> bytes:
    """Three chunks of a track whose samples are all alike."""
    tables = box(b"stts", struct.pack(">IIII", 0, 1, samples, duration))
    tables += box(b"stsc", struct.pack(">IIIIIIII", 0, 2, 1, per_chunk, 1, 3, 1, 1))
    tables += box(b"stsz", struct.pack(">III", 0, 4, samples)) + box(b"stco", struct.pack(">IIIII", 0, 3, 1, 2, 3))
    media = box(b"hdlr", struct.pack(">II", 0, 0) + handler) + box(b"minf", box(b"stbl", tables))
    return box(b"moov", box(b"trak", box(b"mdia", media)))


def test_half_an_hour_of_uncompressed_sound_is_taken() -> None:
    half_an_hour = 1800 * 48_000
    check_mp4(io.BytesIO(track(b"soun", samples=half_an_hour, per_chunk=half_an_hour // 2)), "a.mp4")


@pytest.mark.parametrize(("handler", "duration"), [(b"vide", 1), (b"soun", 2)])
def test_only_uncompressed_sound_may_have_so_many_samples(handler: bytes, duration: int) -> None:
    data = track(handler, samples=1800 * 48_000, per_chunk=1, duration=duration)
    with pytest.raises(MediaError, match="86,400,000 samples"):
        check_mp4(io.BytesIO(data), "a.mp4")


def test_chunks_that_claim_billions_are_refused() -> None:
    with pytest.raises(MediaError, match="its tables state 13,421,775 samples"):
        check_mp4(io.BytesIO(track(b"soun", samples=3, per_chunk=1 << 30)), "a.mp4")


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
