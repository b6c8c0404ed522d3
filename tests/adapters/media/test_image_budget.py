"""Pictures that claim or need too much, and metadata of any size."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hostile_media import jpeg_of_scans, png, png_chunk
from media_files import BLUE, RED, Save, halves, near
from PIL import ImageFile

from inlay.adapters.media.budget import Budget
from inlay.adapters.media.image import MediaError, load_image


def png_of_size(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(50_000, 50_000), (2**31 - 1, 1), (10_000, 10_000)])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of_size(*size))
    with pytest.raises(MediaError, match=rf"bomb\.png: {size[0]} x {size[1]} pixels are too many"):
        load_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    "chunk",
    [
        b"VP8X\x0a\0\0\0\x10\0\0\0" + b"\xff\x3f\0" * 2,
        b"VP8L\x0a\0\0\0\x2f" + b"\xff\xff\xff\x0f" + b"\0" * 5,
        b"VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f",
    ],
)
def test_a_webp_bomb_is_refused_before_its_decoder_is_made(tmp_path: Path, chunk: bytes) -> None:
    (tmp_path / "bomb.webp").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk)
    with pytest.raises(MediaError, match=r"1638[34] x 1638[34] pixels are too many"):
        load_image(tmp_path / "bomb.webp")


def png_with(save_image: Save, *chunks: tuple[bytes, bytes]) -> Path:
    """A picture of two halves with chunks in front of its pixels."""
    path = save_image(halves())
    data = path.read_bytes()
    path.write_bytes(data[:33] + b"".join(png_chunk(*chunk) for chunk in chunks) + data[33:])
    return path


@pytest.mark.parametrize(
    "chunk",
    [
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(3 << 20))),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3 << 20))),
        (b"tEXt", b"Comment\0" + b"a" * (3 << 20)),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(3 << 20))),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"a" * (3 << 20)),
    ],
)
def test_large_profiles_and_texts_do_not_cost_the_picture(save_image: Save, chunk: tuple[bytes, bytes]) -> None:
    assert load_image(png_with(save_image, chunk)).tobytes() == halves().tobytes()


def test_many_texts_do_not_cost_the_picture(save_image: Save) -> None:
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 20)))
    assert load_image(png_with(save_image, *[text] * 100)).tobytes() == halves().tobytes()


def test_a_jpeg_beyond_the_memory_is_decoded_at_a_smaller_size(save_image: Save) -> None:
    path = save_image(halves(size=(640, 480)), "a.jpg", quality=95)
    image = load_image(path, budget=Budget(memory=4 * 640 * 480 // 16))
    assert image.size == (160, 120)
    assert near(image.getpixel((10, 60)), RED)
    assert near(image.getpixel((150, 60)), BLUE)
    assert load_image(path, budget=Budget(memory=4 * 640 * 480)).size == (640, 480)
    with pytest.raises(MediaError, match=r"a\.jpg: reading this file would take"):
        load_image(path, budget=Budget(memory=100))


def test_coefficients_of_a_progressive_jpeg_count_as_memory(save_image: Save) -> None:
    path = save_image(halves(size=(640, 480)), "a.jpg", progressive=True, subsampling="4:4:4")
    coefficients = 6 * 640 * 480
    assert load_image(path, budget=Budget(memory=coefficients + 4 * 640 * 480)).size == (640, 480)
    assert load_image(path, budget=Budget(memory=coefficients + 640 * 480)).size == (320, 240)
    with pytest.raises(MediaError, match="would take"):
        load_image(path, budget=Budget(memory=coefficients))


def test_scans_of_a_progressive_jpeg_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_of_scans(800, 30))
    assert load_image(tmp_path / "a.jpg", budget=Budget(work=30 * 800 * 800)).size == (800, 800)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(MediaError, match="30 scans of 800 x 800 make 19,200,000 pixels to decode"):
        load_image(tmp_path / "a.jpg", budget=Budget(work=29 * 800 * 800))


@pytest.mark.parametrize(("colour", "each"), [(0, 5), (2, 4), (6, 8)])
def test_memory_of_a_png_is_bounded_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: int, each: int
) -> None:
    (tmp_path / "a.png").write_bytes(png(100, 100, colour))
    assert load_image(tmp_path / "a.png", budget=Budget(memory=each * 10_000)).size == (100, 100)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(MediaError, match="would take"):
        load_image(tmp_path / "a.png", budget=Budget(memory=each * 10_000 - 1))


def test_memory_of_a_webp_is_bounded_before_its_decoder_is_made(save_image: Save) -> None:
    path = save_image(halves(size=(100, 100)), "a.webp")
    with pytest.raises(MediaError, match="would take"):
        load_image(path, budget=Budget(memory=16 * 10_000))


def test_the_cap_can_be_chosen(save_image: Save) -> None:
    path = save_image(halves())
    assert load_image(path, budget=Budget(pixels=16 * 8)).size == (16, 8)
    with pytest.raises(MediaError, match="at most 127 pixels"):
        load_image(path, budget=Budget(pixels=127))
