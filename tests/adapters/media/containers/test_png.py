"""Which chunks of a PNG reach the decoder."""

from __future__ import annotations

import io

import pytest
from hostile_media import png, png_chunk

from inlay.adapters.media.containers.png import read_png
from inlay.adapters.media.untrusted import MediaError


def test_only_critical_chunks_and_transparency_are_visible() -> None:
    hidden = b"".join(png_chunk(kind, b"0" * 20) for kind in (b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"acTL", b"pHYs"))
    visible = png_chunk(b"PLTE", b"000") + png_chunk(b"tRNS", b"0")
    found = read_png(io.BytesIO(png(2, 2, ancillary=hidden + visible)), "a.png")
    assert found.pixels.read() == png(2, 2, ancillary=visible)


def test_the_exif_block_is_found_wherever_it_stands() -> None:
    data = png(2, 2)
    block = png_chunk(b"eXIf", b"II*\0")
    assert read_png(io.BytesIO(png(2, 2, ancillary=block)), "a.png").exif == b"II*\0"
    assert read_png(io.BytesIO(data[:-12] + block + data[-12:]), "a.png").exif == b"II*\0"


def test_what_follows_the_end_is_hidden() -> None:
    assert read_png(io.BytesIO(png(2, 2) + b"PK\x03\x04"), "a.png").pixels.read() == png(2, 2)


def test_a_cut_file_is_left_to_the_decoder() -> None:
    assert read_png(io.BytesIO(png(2, 2)[:45]), "a.png").pixels.read() == png(2, 2)[:45]


def test_too_many_chunks_are_refused() -> None:
    with pytest.raises(MediaError, match=r"a\.png: the picture has more than 65,536 chunks"):
        read_png(io.BytesIO(png(2, 2, ancillary=png_chunk(b"tEXt", b"") * (1 << 16))), "a.png")
