"""Tiles with row and column markers, against the image processors and the prompt of Idefics3 and SmolVLM."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from inlay.adapters.media.tiling.grid import Grid, TilingError
from inlay.adapters.media.tiling.split import AROUND, GLOBAL, Split

SIDE = 16
SIZES = [(1, 1), (1, 200), (200, 1), (16, 16), (33, 16)]
SIZES += [(random.Random(n).randint(1, 120), random.Random(n + 500).randint(1, 120)) for n in range(100)]


@pytest.mark.parametrize("kind", [Idefics3ImageProcessorPil, SmolVLMImageProcessorPil])
@pytest.mark.parametrize("along", [1, 3, 4])
def test_rows_and_columns_are_those_of_transformers(kind: Any, along: int) -> None:
    processor = kind(size={"longest_edge": along * SIDE}, max_image_size={"longest_edge": SIDE})
    for size in SIZES:
        theirs = processor(Image.new("RGB", size), return_row_col_info=True)
        found = Split(along).grid(size, SIDE)
        assert (found.rows, found.columns) == (theirs["rows"][0][0], theirs["cols"][0][0]), size


def test_the_longest_side_is_4096_pixels() -> None:
    processor = Idefics3ImageProcessorPil(size={"longest_edge": 6 * 1024}, max_image_size={"longest_edge": 1024})
    found = Split(6).grid((40, 20), 1024)
    assert (found.rows, found.columns) == processor.get_number_of_image_patches(20, 40)[1:] == (2, 4)


def test_the_tiles_have_the_pixels_of_transformers(image_of: Any) -> None:
    rule = Split(3)
    processor = Idefics3ImageProcessorPil(
        size={"longest_edge": 3 * SIDE}, max_image_size={"longest_edge": SIDE}, do_rescale=False, do_normalize=False
    )
    for size in [(20, 14), (60, 17), (9, 70), (64, 64)]:
        image = image_of(1, size)
        grid = rule.grid(size, SIDE)
        theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0]).astype(int)
        ours = np.stack([np.asarray(tile).transpose(2, 0, 1) for tile in rule.cut(image, SIDE, grid)]).astype(int)
        assert ours.shape == theirs.shape == (grid.tiles, 3, SIDE, SIDE)
        assert abs(ours - theirs).max() == 0, size


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (1, 4), (3, 2)])
def test_the_texts_are_those_of_smolvlm(rows: int, columns: int) -> None:
    pieces = Split().pieces(Grid((9, 9), rows, columns, "last"), 5)
    ours = "".join(piece if isinstance(piece, str) else "<image>" * piece for piece in pieces)
    assert ours == get_image_prompt_string(rows, columns, 5, AROUND, "<image>", GLOBAL)


@pytest.mark.parametrize("settings", ["0", "17", "a", "2-3"])
def test_settings_that_are_refused(settings: str) -> None:
    with pytest.raises(TilingError, match="number of tiles along the longer side"):
        Split.parse(settings)
