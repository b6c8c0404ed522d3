"""Pictures of every kind that data sets hold, and files made to do harm."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from inlay.adapters.media import image as image_module
from inlay.adapters.media.budget import Budget
from inlay.adapters.media.image import MediaError, load_image, load_image_bytes, path_inside
from tests.support.hostile_media import jpeg_of_scans, png, png_chunk

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(image: Image.Image, name: str = "picture.png", **options: Any) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


def halves(mode: str = "RGB", size: tuple[int, int] = (16, 8)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def near(pixel: Any, colour: tuple[int, int, int], tolerance: int = 8) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=True))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_the_three_formats_are_read(save: Save, name: str) -> None:
    image = load_image(save(halves(), name, **({} if name == "a.png" else {"quality": 95})))
    assert (image.mode, image.size) == ("RGB", (16, 8))
    assert near(image.getpixel((1, 4)), RED)
    assert near(image.getpixel((14, 4)), BLUE)


def test_the_format_is_chosen_by_content_not_by_name(save: Save) -> None:
    path = save(halves(), "a.png")
    assert load_image(path.rename(path.with_suffix(".jpg"))).getpixel((1, 4)) == RED


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA"])
def test_other_modes_become_rgb_with_the_same_colours(save: Save, mode: str) -> None:
    image = halves().convert(mode)
    expected = image.convert("RGB")
    assert load_image(save(image)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "La", "RGBa"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = Image.new("LA" if mode == "La" else "RGBA", (2, 2), (0, 0, 0, 0)[: 2 if mode == "La" else 4])
    assert load_image(image.convert(mode)).getpixel((0, 0)) == WHITE


def test_half_transparent_black_becomes_grey(save: Save) -> None:
    pixel = load_image(save(Image.new("RGBA", (2, 2), (0, 0, 0, 128)))).getpixel((0, 0))
    assert pixel == (127, 127, 127)


def test_a_transparent_palette_colour_becomes_white(save: Save) -> None:
    image = halves("P")
    transparent = image.getpixel((15, 0))
    loaded = load_image(save(image, transparency=transparent))
    assert [loaded.getpixel((0, 0)), loaded.getpixel((15, 0))] == [RED, WHITE]


def test_a_transparent_rgb_colour_becomes_white(save: Save) -> None:
    loaded = load_image(save(halves(), transparency=BLUE))
    assert [loaded.getpixel((0, 0)), loaded.getpixel((15, 0))] == [RED, WHITE]


def test_cmyk_is_converted(save: Save) -> None:
    loaded = load_image(save(halves().convert("CMYK"), "a.jpg", quality=100, subsampling=0))
    assert near(loaded.getpixel((1, 4)), RED, 12)


def test_sixteen_bit_grey_keeps_its_upper_byte(save: Save) -> None:
    grey = Image.fromarray(np.array([[0, 255, 256], [0x8000, 0xABCD, 0xFFFF]], dtype=np.uint16))
    assert np.asarray(load_image(save(grey)))[..., 0].tolist() == [[0, 0, 1], [0x80, 0xAB, 0xFF]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_exif_rotation_is_undone(save: Save, orientation: int, name: str) -> None:
    from PIL import ImageOps

    image = halves(size=(24, 16))
    image.paste((0, 255, 0), (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(image, name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    with Image.open(path) as opened:
        expected = ImageOps.exif_transpose(opened).convert("RGB")
    assert load_image(path).tobytes() == expected.tobytes()
    assert load_image(path).size == expected.size


def test_a_broken_exif_block_does_not_cost_the_picture(save: Save) -> None:
    path = save(halves(), "a.jpg", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff rubbish", quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert near(load_image(path).getpixel((1, 4)), RED)


def test_an_animated_webp_gives_its_first_frame(save: Save) -> None:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)
    path = save(first, "a.webp", save_all=True, append_images=[second] * 3, lossless=True)
    assert load_image(path).getpixel((4, 4)) == RED


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_extreme_shapes_are_read(save: Save, size: tuple[int, int]) -> None:
    assert load_image(save(Image.new("RGB", size, RED))).size == size


def test_a_picture_in_memory_is_converted_too() -> None:
    assert load_image(Image.new("L", (2, 2), 7)).getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, name: str, kept: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(pixels).save(whole, {"a.png": "PNG", "a.jpg": "JPEG", "a.webp": "WEBP"}[name])
    path = tmp_path / name
    path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * kept)])
    with pytest.raises(MediaError, match=name):
        load_image(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"gone\.png: no such file"):
        load_image(tmp_path / "gone.png")


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(MediaError, match=r"a\.png: the file is empty"):
        load_image(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["GIF", "TIFF", "BMP", "PPM", "ICO", "TGA"])
def test_other_formats_named_jpg_are_refused(save: Save, name: str) -> None:
    with pytest.raises(MediaError, match="expected a JPEG, PNG or WebP file"):
        load_image(save(halves(), "a.jpg", format=name))


@pytest.mark.parametrize("text", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0", b"8BPS"])
def test_text_and_documents_named_jpg_are_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(text)
    with pytest.raises(MediaError, match="expected a JPEG, PNG or WebP file"):
        load_image(tmp_path / "a.jpg")


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


def png_with(save: Save, *chunks: tuple[bytes, bytes]) -> Path:
    """A picture of two halves with chunks in front of its pixels."""
    path = save(halves())
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
def test_large_profiles_and_texts_do_not_cost_the_picture(save: Save, chunk: tuple[bytes, bytes]) -> None:
    assert load_image(png_with(save, chunk)).tobytes() == halves().tobytes()


def test_many_texts_do_not_cost_the_picture(save: Save) -> None:
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 20)))
    assert load_image(png_with(save, *[text] * 100)).tobytes() == halves().tobytes()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_an_orientation_is_undone_once(save: Save, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    once = load_image(save(halves(), name, exif=exif))
    assert once.size == (8, 16)
    assert load_image(once).tobytes() == once.tobytes()


def test_an_orientation_in_memory_is_undone(save: Save) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(halves(), exif=exif)
    with Image.open(path) as opened:
        assert load_image(opened).tobytes() == load_image(path).tobytes()


def test_a_picture_in_memory_is_copied() -> None:
    mine = Image.new("RGB", (4, 4))
    loaded = load_image(mine)
    mine.paste(RED, (0, 0, 4, 4))
    assert loaded.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "I;16", "1"])
def test_bands_give_the_same_picture(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 21, 4), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode if mode != "I;16" else "I").convert(mode)
    whole = load_image(image)
    monkeypatch.setattr(image_module, "_BAND", 5 * 21)
    assert load_image(image).tobytes() == whole.tobytes()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [0, 2, 6])
def test_pictures_of_3_x_3_are_read(tmp_path: Path, bits: int, colour: int) -> None:
    (tmp_path / "a.png").write_bytes(png(3, 3, colour, bits=bits))
    image = load_image(tmp_path / "a.png")
    assert (image.size, image.mode) == ((3, 3), "RGB")
    assert image.getpixel((1, 1)) == (WHITE if colour == 6 else (0, 0, 0))


def test_a_jpeg_beyond_the_memory_is_decoded_at_a_smaller_size(save: Save) -> None:
    path = save(halves(size=(640, 480)), "a.jpg", quality=95)
    image = load_image(path, budget=Budget(memory=4 * 640 * 480 // 16))
    assert image.size == (160, 120)
    assert near(image.getpixel((10, 60)), RED)
    assert near(image.getpixel((150, 60)), BLUE)
    assert load_image(path, budget=Budget(memory=4 * 640 * 480)).size == (640, 480)
    with pytest.raises(MediaError, match=r"a\.jpg: reading this file would take"):
        load_image(path, budget=Budget(memory=100))


def test_coefficients_of_a_progressive_jpeg_count_as_memory(save: Save) -> None:
    path = save(halves(size=(640, 480)), "a.jpg", progressive=True, subsampling="4:4:4")
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


def test_memory_of_a_webp_is_bounded_before_its_decoder_is_made(save: Save) -> None:
    path = save(halves(size=(100, 100)), "a.webp")
    with pytest.raises(MediaError, match="would take"):
        load_image(path, budget=Budget(memory=20 * 10_000))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((2, 5), 7, np.uint8), (7, 7, 7)),
        (np.full((2, 5, 3), (1, 2, 3), np.uint8), (1, 2, 3)),
        (np.full((2, 5, 4), (0, 0, 0, 0), np.uint8), WHITE),
        (np.full((2, 5), 0.2), (51, 51, 51)),
        (np.full((2, 5, 3), (0.0, 0.5, 1.0), np.float32), (0, 128, 255)),
        (np.full((2, 5, 4), 1.0, np.float16), WHITE),
        (np.asfortranarray(np.full((2, 5, 3), 9, np.uint8)), (9, 9, 9)),
    ],
)
def test_an_array_is_a_picture(array: np.ndarray, expected: tuple[int, int, int]) -> None:
    image = load_image(array)
    assert (image.size, image.mode, image.getpixel((4, 1))) == ((5, 2), "RGB", expected)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"got shape \[3, 8, 8\]; channels come last"),
        (np.zeros((1, 8, 8, 3), np.uint8), "got shape"),
        (np.zeros((0, 8, 3), np.uint8), "got shape"),
        (np.zeros(5), "got shape"),
        (np.zeros((8, 8), np.int64), "got int64"),
        (np.zeros((8, 8), object), "got object"),
        (np.full((8, 8), 255.0), "from 0 to 1"),
        (np.full((8, 8), -0.1), "from 0 to 1"),
        (np.full((8, 8), np.nan), "from 0 to 1"),
        ([], "got list"),
        (None, "got NoneType"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(array: Any, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        load_image(array)


def test_the_cap_can_be_chosen(save: Save) -> None:
    path = save(halves())
    assert load_image(path, budget=Budget(pixels=16 * 8)).size == (16, 8)
    with pytest.raises(MediaError, match="at most 127 pixels"):
        load_image(path, budget=Budget(pixels=127))


def test_no_setting_of_pillow_changes(save: Save) -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, dict(Image.OPEN), list(warnings.filters)
    load_image(save(halves()))
    assert before == (
        Image.MAX_IMAGE_PIXELS,
        ImageFile.LOAD_TRUNCATED_IMAGES,
        dict(Image.OPEN),
        list(warnings.filters),
    )


@pytest.mark.parametrize(
    "source",
    ["http://169.254.169.254/a.png", "https://host/a.png", "file:///etc/passwd", "FTP://host/a", "data:image/png;,"],
)
def test_urls_are_refused(source: str, tmp_path: Path) -> None:
    for attempt in (
        lambda: load_image(source),
        lambda: load_image(Path(source)),
        lambda: path_inside(source, tmp_path),
    ):
        with pytest.raises(MediaError, match="nothing is fetched from a network"):
            attempt()


@pytest.mark.parametrize("source", ["../secret.png", "sub/../../secret.png", "link.png", "folder/secret.png"])
def test_a_path_that_leaves_the_root_is_refused(save: Save, tmp_path: Path, source: str) -> None:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    secret = save(halves(), "secret.png")
    (root / "link.png").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    with pytest.raises(MediaError, match="lies outside of the folder"):
        load_image(source, root=root)


def test_an_absolute_path_outside_of_the_root_is_refused(save: Save, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(MediaError, match="lies outside of the folder"):
        load_image(save(halves()), root=tmp_path / "images")


def test_a_link_that_stays_inside_is_followed(save: Save, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(save(halves()))
    assert load_image("link.png", root=tmp_path).size == (16, 8)


@pytest.mark.parametrize(
    "source", ["/etc/passwd", "C:\\a.png", "c:/a.png", "\\\\host\\a.png", "../a.png", "a/../b.png"]
)
def test_a_record_may_only_name_what_is_below_its_folder(source: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError):
        path_inside(source, tmp_path)


@pytest.mark.parametrize("source", ["", "a\0.png"])
def test_a_name_that_is_no_name_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError):
        path_inside(source, tmp_path)
    with pytest.raises(MediaError):
        load_image(source)


def test_an_overlong_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError):
        load_image("a" * 5000, root=tmp_path)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(MediaError, match="expected a file"):
        load_image(tmp_path / "a.png")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="expected a file"):
        load_image(tmp_path)


def test_floating_point_pictures_are_refused() -> None:
    with pytest.raises(MediaError, match="mode 'F'"):
        load_image(Image.new("F", (2, 2)))


def test_something_that_is_no_picture_is_refused() -> None:
    with pytest.raises(MediaError, match="got bytes"):
        load_image(b"abc")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
def test_damaged_bytes_give_a_picture_or_the_one_error(tmp_path: Path, name: str, seed: int) -> None:
    whole = io.BytesIO()
    halves(size=(40, 30)).save(whole, name)
    data = bytearray(whole.getvalue())
    rng = np.random.default_rng(seed)
    for place in rng.integers(12, len(data), 6):
        data[place] = rng.integers(0, 256)
    (tmp_path / "a").write_bytes(data)
    with contextlib.suppress(MediaError):
        assert load_image(tmp_path / "a").mode == "RGB"


def test_bytes_are_read_as_a_file_is(save: Save) -> None:
    path = save(Image.new("LA", (3, 2), (0, 0)), "a.png")
    read = load_image_bytes(path.read_bytes(), "shard.tar, 1.png")
    assert (read.tobytes(), read.mode) == (load_image(path).tobytes(), "RGB")


@pytest.mark.parametrize("kept", [0, 4, 40])
def test_damaged_bytes_are_an_error_that_names_them(save: Save, kept: int) -> None:
    data = save(Image.new("RGB", (30, 30)), "a.png").read_bytes()
    with pytest.raises(MediaError, match=r"shard\.tar, 1\.png: "):
        load_image_bytes(data[:kept], "shard.tar, 1.png")
