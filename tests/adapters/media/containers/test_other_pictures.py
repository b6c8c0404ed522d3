"""GIF, BMP, TIFF, AVIF and HEIC: read as Pillow reads them, within the budget."""

from __future__ import annotations

import struct
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import Save, halves
from PIL import Image

from inlay.adapters.media.budget import Budget
from inlay.adapters.media.errors import MediaError
from inlay.adapters.media.image import load_image, load_image_bytes

LOSSLESS = ["a.gif", "a.bmp", "a.tif"]


@pytest.mark.parametrize("name", LOSSLESS)
def test_the_format_is_read_exactly(save_image: Save, name: str) -> None:
    assert load_image(save_image(halves(), name)).tobytes() == halves().convert("RGB").tobytes()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff_is_read(save_image: Save, compression: str) -> None:
    path = save_image(halves(), "a.tif", compression=compression)
    assert load_image(path).tobytes() == halves().convert("RGB").tobytes()


def test_avif_is_read(save_image: Save) -> None:
    found = np.asarray(load_image(save_image(halves(), "a.avif", quality=100, subsampling="4:4:4")), dtype=int)
    assert np.abs(found - np.asarray(halves().convert("RGB"), dtype=int)).max() <= 8


def test_of_an_animated_gif_the_first_frame_is_read(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (6, 4), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert load_image(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("name", ["a.tif", "a.avif"])
def test_an_orientation_is_undone_once(save_image: Save, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"subsampling": "4:4:4"} if name == "a.avif" else {}
    found = load_image(save_image(halves(), name, exif=exif, **options))
    expected = halves().convert("RGB").transpose(Image.Transpose.ROTATE_270)
    assert found.size == expected.size
    assert np.abs(np.asarray(found, dtype=int) - np.asarray(expected, dtype=int)).max() < 40


@pytest.mark.parametrize("name", [*LOSSLESS, "a.avif"])
def test_too_many_pixels_are_refused_before_decoding(save_image: Save, name: str) -> None:
    with pytest.raises(MediaError, match="16 x 8 pixels are too many"):
        load_image(save_image(halves(), name), budget=Budget(pixels=100))


@pytest.mark.parametrize("name", [*LOSSLESS, "a.avif"])
def test_too_much_memory_is_refused_before_decoding(save_image: Save, name: str) -> None:
    with pytest.raises(MediaError, match="MB of memory"):
        load_image(save_image(halves(), name), budget=Budget(memory=600))


@pytest.mark.parametrize("name", [*LOSSLESS, "a.avif"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_an_error(save_image: Save, name: str, keep: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    data = save_image(noise, name).read_bytes()
    with pytest.raises(MediaError, match=r"damaged|cut off"):
        load_image(data[: int(len(data) * keep)])


def test_a_tile_larger_than_the_budget_is_refused() -> None:
    entries = [(256, 8), (257, 8), (258, 8), (259, 8), (262, 1), (277, 1), (322, 1 << 20), (323, 1 << 20)]
    body = struct.pack("<H", len(entries) + 2)
    for tag, value in sorted([*entries, (324, 8), (325, 8)]):
        body += struct.pack("<HHII", tag, 4, 1, value)
    with pytest.raises(MediaError, match="tile: 1048576 x 1048576 pixels are too many"):
        load_image(b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", 0))


def test_heic_without_its_library_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MediaError, match="pip install pillow-heif"):
        load_image(b"\0\0\0\x18ftypheic" + bytes(40))


def test_heic_is_read_by_the_library() -> None:
    heif: Any = pytest.importorskip("pillow_heif")
    held = BytesIO()
    heif.from_pillow(halves().convert("RGB")).save(held, quality=100)
    assert load_image(held.getvalue()).size == (16, 8)


@pytest.mark.parametrize("name", ["a.gif", "a.tif"])
def test_uploads_and_archives_stay_with_the_common_formats(save_image: Save, name: str) -> None:
    with pytest.raises(MediaError, match="expected a JPEG, PNG or WebP file"):
        load_image_bytes(save_image(halves(), name).read_bytes(), "upload")
