"""LLaVA 1.6's canvases, tiles and unpadding, against the image processor and the model code of transformers."""

from __future__ import annotations

import random
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaNextProcessor
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.modeling_llava_next import unpad_image

from inlay.adapters.media.tiling.anyres import AnyRes, unpadded
from inlay.adapters.media.tiling.grid import TilingError

SIDE = 16
SIZES = [(1, 1), (1, 999), (999, 1), (300, 300), (16, 16), (33, 16)]
SIZES += [(random.Random(n).randint(1, 90), random.Random(n + 500).randint(1, 90)) for n in range(100)]


@pytest.mark.parametrize("settings", ["", "1x1,1x2,2x1,2x2,1x3,3x1,4x4"])
def test_the_canvas_is_the_one_of_transformers(settings: str) -> None:
    rule = AnyRes.parse(settings)
    pinpoints = [[rows * SIDE, columns * SIDE] for rows, columns in rule.canvases]
    for width, height in SIZES:
        found = rule.grid((width, height), SIDE)
        theirs = select_best_resolution((height, width), pinpoints) or pinpoints[0]
        assert (found.rows * SIDE, found.columns * SIDE) == tuple(theirs), (width, height)


def test_the_tiles_have_the_pixels_of_transformers(image_of: Any) -> None:
    rule = AnyRes()
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_grid_pinpoints=[[rows * SIDE, columns * SIDE] for rows, columns in rule.canvases],
        do_rescale=False,
        do_normalize=False,
    )
    for size in [(20, 14), (60, 17), (9, 70), (64, 64), (200, 3)]:
        image = image_of(1, size)
        grid = rule.grid(size, SIDE)
        theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0]).astype(int)
        ours = np.stack([np.asarray(tile).transpose(2, 0, 1) for tile in rule.cut(image, SIDE, grid)]).astype(int)
        assert ours.shape == theirs.shape == (grid.tiles, 3, SIDE, SIDE)
        assert abs(ours - theirs).max() == 0, size


def test_unpadding_is_that_of_transformers() -> None:
    for rows, columns in ((4, 8), (8, 4), (6, 6), (24, 72)):
        places = torch.arange(rows * columns).view(1, rows, columns)
        for width, height in SIZES:
            top, bottom, left, right = unpadded((width, height), rows, columns)
            ours = places[:, top:bottom, left:right]
            assert torch.equal(ours, unpad_image(places, (height, width))), (rows, columns, width, height)


def test_a_map_needs_a_square_number_of_tokens() -> None:
    grid = AnyRes().grid((30, 30), SIDE)
    with pytest.raises(TilingError, match="square number of tokens per tile, which form a map, got 577"):
        AnyRes().pieces(grid, 577)


def test_llava_has_2928_positions_for_the_largest_picture() -> None:
    rule = AnyRes()
    assert max(rule.pieces(grid, 576)[0] for grid in rule.grids()) == 576 + 48 * 49


def test_positions_are_those_of_llava_next_processor_at_336_pixels() -> None:
    rule = AnyRes()
    pinpoints = [[rows * 336, columns * 336] for rows, columns in rule.canvases]
    images = LlavaNextImageProcessorPil(image_grid_pinpoints=pinpoints)
    counting = SimpleNamespace(image_processor=images, patch_size=14, num_additional_image_tokens=0)
    counting._get_unpadded_features = partial(LlavaNextProcessor._get_unpadded_features, counting)
    for n in range(300):
        size = random.Random(n).randint(1, 3000), random.Random(n + 500).randint(1, 3000)
        theirs = LlavaNextProcessor._get_number_of_features(counting, size[1], size[0], 336, 336)
        assert rule.pieces(rule.grid(size, 336), 576) == (theirs,), size


def test_no_picture_is_outside_of_the_bounds() -> None:
    rule = AnyRes()
    bounds = [rule.pieces(grid, 16)[0] for grid in rule.grids()]
    for size in SIZES:
        assert min(bounds) <= rule.pieces(rule.grid(size, SIDE), 16)[0] <= max(bounds), size


def test_a_thin_picture_costs_no_more_than_another() -> None:
    rule = AnyRes()
    image = Image.new("RGB", (65_535, 1), "white")
    grid = rule.grid(image.size, SIDE)
    assert [tile.size for tile in rule.cut(image, SIDE, grid)] == [(SIDE, SIDE)] * grid.tiles


@pytest.mark.parametrize("settings", ["2", "0x1", "1x2,", "9x9", "a", ",".join(["1x1"] * 65)])
def test_settings_that_are_refused(settings: str) -> None:
    with pytest.raises(TilingError, match="rows x columns in tiles"):
        AnyRes.parse(settings)
