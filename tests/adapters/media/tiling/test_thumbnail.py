"""InternVL's tiles and thumbnail, against the image processor of transformers (GotOcr2's)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from inlay.adapters.media.tiling.grid import TilingError
from inlay.adapters.media.tiling.thumbnail import Thumbnail

SIDE = 16
SIZES = [(1, 1), (1, 999), (999, 1), (16, 16), (32, 16), (48, 48)]
SIZES += [(random.Random(n).randint(1, 120), random.Random(n + 500).randint(1, 120)) for n in range(100)]


def processor_of(rule: Thumbnail) -> GotOcr2ImageProcessorPil:
    return GotOcr2ImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        crop_to_patches=True,
        min_patches=rule.least,
        max_patches=rule.most,
        do_rescale=False,
        do_normalize=False,
    )


@pytest.mark.parametrize("rule", [Thumbnail(), Thumbnail(1, 6), Thumbnail(2, 4)])
def test_the_number_of_tiles_is_that_of_transformers(rule: Thumbnail) -> None:
    processor = processor_of(rule)
    for width, height in SIZES:
        theirs = processor.get_number_of_image_patches(height, width)
        assert rule.grid((width, height), SIDE).tiles == theirs, (width, height)


def test_the_tiles_have_the_pixels_of_transformers(image_of: Any) -> None:
    rule = Thumbnail(1, 6)
    processor = processor_of(rule)
    for size in [(20, 14), (60, 17), (9, 70), (64, 64), (16, 16)]:
        image = image_of(1, size)
        grid = rule.grid(size, SIDE)
        theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"]).astype(int)
        ours = np.stack([np.asarray(tile).transpose(2, 0, 1) for tile in rule.cut(image, SIDE, grid)]).astype(int)
        assert ours.shape == theirs.shape == (grid.tiles, 3, SIDE, SIDE)
        assert abs(ours - theirs).max() == 0, size


def test_one_tile_has_no_thumbnail() -> None:
    rule = Thumbnail()
    assert rule.pieces(rule.grid((10, 10), SIDE), 4) == (4,)


def test_tiles_and_thumbnail_stand_one_after_the_other() -> None:
    rule = Thumbnail()
    assert rule.pieces(rule.grid((64, 32), SIDE), 4) == (9 * 4,)


@pytest.mark.parametrize("settings", ["3", "0-3", "5-4", "1-65", "a-b"])
def test_settings_that_are_refused(settings: str) -> None:
    with pytest.raises(TilingError, match="the range of the number of tiles"):
        Thumbnail.parse(settings)
