"""Pictures of every kind that data sets hold, and files made to do harm."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_media import png
from media_files import BLUE, RED, WHITE, Save, halves, near
from PIL import Image, ImageFile

from inlay.adapters.media import image as image_module
from inlay.adapters.media.budget import Budget
from inlay.adapters.media.image import MediaError, load_image, load_image_bytes, path_inside, picture_size


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_the_three_formats_are_read(save_image: Save, name: str) -> None:
    image = load_image(save_image(halves(), name, **({} if name == "a.png" else {"quality": 95})))
    assert (image.mode, image.size) == ("RGB", (16, 8))
    assert near(image.getpixel((1, 4)), RED)
    assert near(image.getpixel((14, 4)), BLUE)


def test_the_format_is_chosen_by_content_not_by_name(save_image: Save) -> None:
    path = save_image(halves(), "a.png")
    assert load_image(path.rename(path.with_suffix(".jpg"))).getpixel((1, 4)) == RED


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA"])
def test_other_modes_become_rgb_with_the_same_colours(save_image: Save, mode: str) -> None:
    image = halves().convert(mode)
    expected = image.convert("RGB")
    assert load_image(save_image(image)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "La", "RGBa"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = Image.new("LA" if mode == "La" else "RGBA", (2, 2), (0, 0, 0, 0)[: 2 if mode == "La" else 4])
    assert load_image(image.convert(mode)).getpixel((0, 0)) == WHITE


def test_half_transparent_black_becomes_grey(save_image: Save) -> None:
    pixel = load_image(save_image(Image.new("RGBA", (2, 2), (0, 0, 0, 128)))).getpixel((0, 0))
    assert pixel == (127, 127, 127)


def test_a_transparent_palette_colour_becomes_white(save_image: Save) -> None:
    image = halves("P")
    transparent = image.getpixel((15, 0))
    loaded = load_image(save_image(image, transparency=transparent))
    assert [loaded.getpixel((0, 0)), loaded.getpixel((15, 0))] == [RED, WHITE]


def test_a_transparent_rgb_colour_becomes_white(save_image: Save) -> None:
    loaded = load_image(save_image(halves(), transparency=BLUE))
    assert [loaded.getpixel((0, 0)), loaded.getpixel((15, 0))] == [RED, WHITE]


def test_cmyk_is_converted(save_image: Save) -> None:
    loaded = load_image(save_image(halves().convert("CMYK"), "a.jpg", quality=100, subsampling=0))
    assert near(loaded.getpixel((1, 4)), RED, 12)


def test_sixteen_bit_grey_keeps_its_upper_byte(save_image: Save) -> None:
    grey = Image.fromarray(np.array([[0, 255, 256], [0x8000, 0xABCD, 0xFFFF]], dtype=np.uint16))
    assert np.asarray(load_image(save_image(grey)))[..., 0].tolist() == [[0, 0, 1], [0x80, 0xAB, 0xFF]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_exif_rotation_is_undone(save_image: Save, orientation: int, name: str) -> None:
    from PIL import ImageOps

    image = halves(size=(24, 16))
    image.paste((0, 255, 0), (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save_image(image, name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    with Image.open(path) as opened:
        expected = ImageOps.exif_transpose(opened).convert("RGB")
    assert load_image(path).tobytes() == expected.tobytes()
    assert load_image(path).size == picture_size(path) == expected.size


def test_a_broken_exif_block_does_not_cost_the_picture(save_image: Save) -> None:
    path = save_image(halves(), "a.jpg", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff rubbish", quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert near(load_image(path).getpixel((1, 4)), RED)


def test_an_animated_webp_gives_its_first_frame(save_image: Save) -> None:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)
    path = save_image(first, "a.webp", save_all=True, append_images=[second] * 3, lossless=True)
    assert load_image(path).getpixel((4, 4)) == RED


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_extreme_shapes_are_read(save_image: Save, size: tuple[int, int]) -> None:
    assert load_image(save_image(Image.new("RGB", size, RED))).size == size


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


@pytest.mark.parametrize("name", ["PPM", "ICO", "TGA"])
def test_other_formats_named_jpg_are_refused(save_image: Save, name: str) -> None:
    with pytest.raises(MediaError, match="expected a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file"):
        load_image(save_image(halves(), "a.jpg", format=name))


@pytest.mark.parametrize("text", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0", b"8BPS"])
def test_text_and_documents_named_jpg_are_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(text)
    with pytest.raises(MediaError, match="expected a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file"):
        load_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_an_orientation_is_undone_once(save_image: Save, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    once = load_image(save_image(halves(), name, exif=exif))
    assert once.size == (8, 16)
    assert load_image(once).tobytes() == once.tobytes()


def test_an_orientation_in_memory_is_undone(save_image: Save) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save_image(halves(), exif=exif)
    with Image.open(path) as opened:
        assert load_image(opened).tobytes() == load_image(path).tobytes()
        assert picture_size(opened) == (8, 16)


def test_the_size_of_a_large_jpeg_is_the_one_at_which_it_is_decoded(save_image: Save) -> None:
    path = save_image(Image.new("RGB", (640, 320)), "a.jpg")
    small = Budget(memory=400_000)
    assert picture_size(path, budget=small) == load_image(path, budget=small).size == (320, 160)


def test_the_size_of_an_array_is_its_shape() -> None:
    assert picture_size(np.zeros((3, 5), dtype=np.uint8)) == (5, 3)


def test_the_size_of_no_picture_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(MediaError, match="expected a JPEG, PNG, WebP"):
        picture_size(tmp_path / "a.png")


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


def test_no_setting_of_pillow_changes(save_image: Save) -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, dict(Image.OPEN), list(warnings.filters)
    load_image(save_image(halves()))
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
def test_a_path_that_leaves_the_root_is_refused(save_image: Save, tmp_path: Path, source: str) -> None:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    secret = save_image(halves(), "secret.png")
    (root / "link.png").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    with pytest.raises(MediaError, match="lies outside of the folder"):
        load_image(source, root=root)


def test_an_absolute_path_outside_of_the_root_is_refused(save_image: Save, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(MediaError, match="lies outside of the folder"):
        load_image(save_image(halves()), root=tmp_path / "images")


def test_a_link_that_stays_inside_is_followed(save_image: Save, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(save_image(halves()))
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
    with pytest.raises(MediaError, match="the medium in memory: expected a JPEG"):
        load_image(b"abc")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
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


def test_bytes_are_read_as_a_file_is(save_image: Save) -> None:
    path = save_image(Image.new("LA", (3, 2), (0, 0)), "a.png")
    read = load_image_bytes(path.read_bytes(), "shard.tar, 1.png")
    assert (read.tobytes(), read.mode) == (load_image(path).tobytes(), "RGB")


@pytest.mark.parametrize("kept", [0, 4, 40])
def test_damaged_bytes_are_an_error_that_names_them(save_image: Save, kept: int) -> None:
    data = save_image(Image.new("RGB", (30, 30)), "a.png").read_bytes()
    with pytest.raises(MediaError, match=r"shard\.tar, 1\.png: "):
        load_image_bytes(data[:kept], "shard.tar, 1.png")
