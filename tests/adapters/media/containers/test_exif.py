"""The orientation tag, read as Pillow reads it, and blocks that are damaged or claim too much."""

from __future__ import annotations

import struct
import time

import pytest
from PIL import Image

from inlay.adapters.media.containers.exif import orientation


@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_that_pillow_writes_is_read(value: int) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8769] = "maker", value, {0x9000: b"0230"}
    assert orientation(exif.tobytes()) == value


@pytest.mark.parametrize(("order", "head"), [("<", b"II*\0"), (">", b"MM\0*")])
@pytest.mark.parametrize(("kind", "code"), [(1, "B"), (3, "H"), (4, "I")])
def test_both_byte_orders_and_all_integer_types_are_read(order: str, head: bytes, kind: int, code: str) -> None:
    value = struct.pack(order + code, 8).ljust(4, b"\0")
    block = head + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, 1) + value
    assert orientation(block) == 8
    assert orientation(b"Exif\0\0" + block) == 8


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"XX*\0" + bytes(30),
        b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, 9, 0),
        b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 2, 1, 6, 0),
        b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 2, 6, 6),
    ],
)
def test_a_damaged_block_is_upright(block: bytes) -> None:
    assert orientation(block) == 1


def test_tags_that_share_bytes_are_not_read() -> None:
    tags = (1 << 16) - 1
    entries = struct.pack("<HHII", 0x9000, 1, 1 << 20, 8) * tags
    block = b"II*\0" + struct.pack("<IH", 8, tags) + entries
    start = time.process_time()
    assert orientation(block) == 1
    assert time.process_time() - start < 2
