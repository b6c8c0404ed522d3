"""The three ways to a square, against transformers' processor and against the rules written out with numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from inlay.adapters.media import geometry
from inlay.adapters.media.geometry import fit

SIZES = [(64, 64), (63, 40), (40, 63), (33, 32), (97, 31), (31, 97), (5, 9), (1, 1), (1, 50), (301, 7)]
FILL = (122, 116, 104)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def centred_on_a_square(image: Image.Image, fill: tuple[int, int, int]) -> Image.Image:
    """LLaVA's rule: a square of the longer side in the fill colour, the picture pasted in the middle, rounded down."""
    pixels = np.asarray(image)
    height, width, _ = pixels.shape
    side = max(height, width)
    square = np.empty((side, side, 3), dtype=np.uint8)
    square[:] = fill
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    return Image.fromarray(square)


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("shape", SIZES)
def test_crop_equals_the_clip_processor_of_transformers(shape: tuple[int, int], size: int) -> None:
    image = noise(*shape)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        do_rescale=False,
        do_normalize=False,
    )
    expected = np.asarray(processor(image, return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0)
    assert np.array_equal(np.asarray(fit(image, size, "crop", FILL)), expected)


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("shape", SIZES)
def test_pad_equals_resizing_the_padded_square(shape: tuple[int, int], size: int) -> None:
    image = noise(*shape)
    expected = centred_on_a_square(image, FILL).resize((size, size), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(fit(image, size, "pad", FILL)), np.asarray(expected))


@pytest.mark.parametrize("shape", SIZES)
def test_pad_in_bands_gives_the_same_pixels(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(*shape)
    whole = fit(image, 32, "pad", FILL)
    monkeypatch.setattr(geometry, "_BAND", 3 * max(shape))
    assert fit(image, 32, "pad", FILL).tobytes() == whole.tobytes()


@pytest.mark.parametrize("shape", [(97, 31), (31, 97), (1, 50), (301, 7)])
def test_crop_of_a_long_strip_differs_by_rounding_only(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(*shape).point(lambda value: 96 + value // 4)  # no overshoot is clipped
    exact = np.asarray(fit(image, 32, "crop", FILL)).astype(int)
    monkeypatch.setattr(geometry, "_RESIZED", 0)
    assert np.abs(np.asarray(fit(image, 32, "crop", FILL)) - exact).max() <= 2


@pytest.mark.parametrize("shape", [(31, 97), (1, 50), (7, 301), (40, 63)])
def test_pad_of_a_tall_strip_differs_by_rounding_only(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(*shape).point(lambda value: 96 + value // 4)  # no overshoot is clipped
    exact = np.asarray(fit(image, 32, "pad", FILL)).astype(int)
    monkeypatch.setattr(geometry, "_EXACT", 0)
    assert np.abs(np.asarray(fit(image, 32, "pad", FILL)) - exact).max() <= 2


@pytest.mark.parametrize("shape", [(1, 65_535), (65_535, 1), (300, 20_000)])
def test_pad_visits_no_more_than_picture_and_target(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    visited = 0
    resize = Image.Image.resize

    def counted(image: Image.Image, *args: Any, **options: Any) -> Image.Image:
        nonlocal visited
        visited += image.width * image.height
        return resize(image, *args, **options)

    monkeypatch.setattr(Image.Image, "resize", counted)
    fit(Image.new("RGB", shape), 336, "pad", FILL)
    assert visited <= shape[0] * shape[1] + 336 * max(shape)


@pytest.mark.parametrize("how", ["squash", "pad", "crop"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 10_000), (10_000, 1), (65_535, 1), (1, 65_535)])
def test_every_shape_becomes_a_square(shape: tuple[int, int], how: geometry.Geometry) -> None:
    square = fit(Image.new("RGB", shape, (9, 8, 7)), 336, how, FILL)
    assert (square.size, square.mode) == ((336, 336), "RGB")


def test_squash_ignores_the_ratio() -> None:
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((0, 0, 255), (20, 0, 40, 20))
    squashed = fit(image, 10, "squash", FILL)
    assert [squashed.getpixel((x, y)) for x, y in ((0, 0), (9, 9))] == [(255, 0, 0), (0, 0, 255)]


def test_pad_shows_the_fill_above_and_the_whole_width() -> None:
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    padded = fit(image, 40, "pad", FILL)
    assert [padded.getpixel((x, y)) for x, y in ((0, 0), (0, 20), (39, 20), (39, 39))] == [
        FILL,
        (255, 0, 0),
        (255, 0, 0),
        FILL,
    ]


def torchvision_box(width: int, height: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Resized shape and corner of the crop by torchvision's source (Resize and CenterCrop with one integer).

    The longer side is ``int(size * long / short)``; the corner is ``int(round((side - size) / 2.0))`` on either axis.
    """
    resized = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    left, top = (int(round((side - size) / 2.0)) for side in resized)  # noqa: RUF046  # as it is written there
    return resized, (left, top)


def test_known_corners_of_torchvision() -> None:
    # 227 - 224 = 3 leaves one and a half pixels, which round to 2; 229 - 224 = 5 leaves two and a half, also 2.
    assert torchvision_box(227, 224, 224) == ((227, 224), (2, 0))
    assert torchvision_box(229, 224, 224) == ((229, 224), (2, 0))
    assert torchvision_box(640, 480, 224) == ((298, 224), (37, 0))
    assert torchvision_box(480, 641, 224) == ((224, 299), (0, 38))  # 37.5


def test_centres_round_as_torchvision_rounds() -> None:
    differ = 0
    for width, height in [(224 + n, 224) for n in range(75)] + [(224, 224 + n) for n in range(75)] + SIZES:
        image = noise(width, height, width + height)
        resized, (left, top) = torchvision_box(width, height, 224)
        whole = image.resize(resized, Image.Resampling.BICUBIC)
        expected = whole.crop((left, top, left + 224, top + 224))
        found = fit(image, 224, "crop", FILL, "even")
        assert found.tobytes() == expected.tobytes(), (width, height)
        differ += found.tobytes() != fit(image, 224, "crop", FILL).tobytes()
    assert differ > 30


def test_a_half_pixel_is_rounded_in_a_long_strip_too(monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(227, 224).point(lambda value: 96 + value // 4)
    monkeypatch.setattr(geometry, "_RESIZED", 0)
    expected = np.asarray(image.crop((2, 0, 226, 224))).astype(int)
    assert np.abs(np.asarray(fit(image, 224, "crop", FILL, "even")) - expected).max() <= 2
