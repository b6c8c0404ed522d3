"""Generators of small media files that claim, or ask for, far more than their size suggests."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = [
    "exif_that_shares_bytes",
    "gif_of_frames",
    "jpeg_of_scans",
    "mp4_with_compressed_header",
    "mp4_without_motion",
    "ogg_of_silence",
    "png",
    "png_chunk",
]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, colour: int = 2, *, ancillary: bytes = b"", bits: int = 8) -> bytes:
    """A black PNG of any size; `colour` is IHDR's type (0 grey, 2 RGB, 6 RGBA), `ancillary` precedes the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    row = 1 + width * {0: 1, 2: 3, 4: 2, 6: 4}[colour] * bits // 8
    squeeze = zlib.compressobj(9)
    left, pixels = row * height, []
    while left:
        piece = min(left, 1 << 24)
        pixels.append(squeeze.compress(bytes(piece)))
        left -= piece
    data = b"".join(pixels) + squeeze.flush()
    chunks = png_chunk(b"IHDR", header) + ancillary + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """A progressive grey JPEG of empty scans, of about 100 bytes each: every one visits all blocks.

    Its AC table has two codes: ``0`` ends the band in one block, ``10`` in a run of blocks of 14 more bits.
    """
    table = bytes([1, 1, *[0] * 14])
    tables = _segment(0xC4, b"\x10" + table + b"\0\xe0") + _segment(0xC4, b"\0" + bytes([1, *[0] * 15]) + b"\0")
    blocks = (-(-side // 8)) ** 2
    frame = _segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0]))
    bits = ["0" * blocks]  # the DC of every block: no difference
    dc = _segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + _stuffed("".join(bits))
    runs = [len(part) for part in np.array_split(np.arange(blocks), -(-blocks // ((1 << 15) - 1)))]
    long = blocks >= 1 << 14
    ends = "".join("10" + format(run - (1 << 14), "014b") for run in runs) if long else "0" * blocks
    ac = _segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + _stuffed(ends)
    quantisation = _segment(0xDB, b"\0" + bytes([1] * 64))
    return b"\xff\xd8" + quantisation + frame + tables + dc + ac * (scans - 1) + b"\xff\xd9"


def _stuffed(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits or "1" * 8, 2).to_bytes(max(1, len(bits) // 8), "big").replace(b"\xff", b"\xff\0")


def gif_of_frames(side: int, frames: int) -> bytes:
    """A canvas of `side` x `side`, and frames of one pixel each."""
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes([0, 0, 0, 255, 255, 255])
    frame = b"!\xf9\x04\x04\x0a\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return head + frame * frames + b";"


def ogg_of_silence(path: Path, seconds: int) -> Path:
    """Opus at 48 kHz: a few bytes for each packet of 20 ms."""
    import soundfile

    with soundfile.SoundFile(path, "w", 48_000, 1, format="OGG", subtype="OPUS") as writer:
        silence = np.zeros(48_000, dtype=np.float32)
        for _ in range(seconds):
            writer.write(silence)
    return path


def mp4_without_motion(path: Path, size: tuple[int, int], frames: int, *, codec: str = "libx264") -> Path:
    """Black frames at 30 a second: after the first, each takes some dozens of bytes."""
    import av

    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream(codec, rate=30, options={"preset": "ultrafast", "g": "100000"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 30)
        frame = av.VideoFrame.from_ndarray(np.zeros((size[1] * 3 // 2, size[0]), dtype=np.uint8), format="yuv420p")
        for index in range(frames):
            frame.pts, frame.time_base = index, Fraction(1, 30)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def mp4_with_compressed_header(plain: bytes, *, samples: int | None = None) -> bytes:
    """Compress the ``moov`` of an MP4 (which follows the pictures), with another number of samples of one size."""
    place = plain.index(b"moov") - 4
    header = bytearray(plain[place : place + int.from_bytes(plain[place : place + 4], "big")])
    if samples is not None:
        table = header.index(b"stsz") + 8
        header[table : table + 8] = struct.pack(">II", 1, samples)
    squeezed = struct.pack(">I", len(header)) + zlib.compress(bytes(header))
    return plain[:place] + _box(b"moov", _box(b"cmov", _box(b"dcom", b"zlib") + _box(b"cmvd", squeezed)))


def exif_that_shares_bytes(tags: int = 4_000) -> bytes:
    """A JPEG of 8 x 8 whose EXIF tags all point to the same 15 KB, as if each had its own."""
    entries = b"".join(struct.pack("<HHII", 0x9000 + index, 1, 15_000, 8) for index in range(tags))
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, tags) + entries + bytes(4)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(picture, "JPEG")
    return b"\xff\xd8" + _segment(0xE1, block) + picture.getvalue()[2:]
