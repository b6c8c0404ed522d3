"""Grids and their tiles."""

from __future__ import annotations

import numpy as np
from PIL import Image

from inlay.adapters.media.tiling.grid import Grid, counted, tiles_of


def test_a_grid_counts_the_whole_picture_as_a_tile() -> None:
    assert [Grid((4, 4), 2, 3, whole).tiles for whole in (None, "first")] == [6, 7]


def test_tiles_are_cut_row_by_row() -> None:
    picture = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3).repeat(4, axis=0).repeat(4, axis=1))
    assert [tile.getpixel((0, 0)) for tile in tiles_of(picture, 4)] == [0, 1, 2, 3, 4, 5]


def test_only_positions_are_counted() -> None:
    assert counted(("a", 4, "b", 2)) == 6
