"""Rules by their text, as layouts and bundles store it."""

from __future__ import annotations

import pytest
from PIL import Image

from inlay.adapters.media.tiling.grid import TilingError
from inlay.adapters.media.tiling.registry import TILINGS, tiling_of


@pytest.mark.parametrize("name", TILINGS)
def test_a_text_with_all_settings_gives_the_same_rule(name: str) -> None:
    rule = tiling_of(name)
    assert rule.text.startswith(f"{name}:")
    assert tiling_of(rule.text) == rule


@pytest.mark.parametrize("text", ["", "none", "anyres:", "grid", "Anyres", ":1x1"])
def test_an_unknown_rule_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(TilingError, match="expected one of anyres, tiles, split"):
        tiling_of(text)


@pytest.mark.parametrize("name", TILINGS)
def test_every_grid_has_as_many_tiles_as_it_is_cut_into(name: str) -> None:
    rule = tiling_of(name)
    for size in ((1, 1), (40, 9), (9, 40), (31, 30)):
        grid = rule.grid(size, 8)
        tiles = rule.cut(Image.new("RGB", size), 8, grid)
        assert [tile.size for tile in tiles] == [(8, 8)] * grid.tiles
