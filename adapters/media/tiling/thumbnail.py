"""Tiles and a thumbnail, as in InternVL (Chen et al., 2024, https://arxiv.org/abs/2404.16821).

``dynamic_preprocess``: among all grids with an allowed number of tiles, the one with the nearest aspect ratio is
chosen, and the picture is squashed into it. If there is more than one tile, the whole picture, squashed into one tile,
follows. The features of all tiles are concatenated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self

from PIL import Image

from inlay.adapters.media.tiling.grid import Grid, Piece, Size, Tiling, TilingError, tiles_of

__all__ = ["Thumbnail"]

_MOST = 64
"""Limit on the tiles of one picture."""


@dataclass(frozen=True)
class Thumbnail(Tiling):
    """Tiling with ``least`` to ``most`` tiles, and a thumbnail.

    Example:
        >>> Thumbnail().grid((1000, 480), side=448)
        Grid(size=(1000, 480), rows=1, columns=2, whole='last')
    """

    least: int = 1
    """Smallest number of tiles, without the thumbnail."""
    most: int = 12
    """Largest number of tiles, without the thumbnail."""

    name: ClassVar[str] = "tiles"

    @classmethod
    def parse(cls, settings: str) -> Self:
        """Parse the smallest and the largest number of tiles, such as ``1-12``; InternVL's if empty."""
        if not settings:
            return cls()
        found = re.fullmatch(r"([1-9]\d?)-([1-9]\d?)", settings)
        if not found or not int(found[1]) <= int(found[2]) <= _MOST:
            raise TilingError(
                f"tiles: expected the range of the number of tiles, up to {_MOST}, as 'tiles:1-12', got {settings!r}"
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def settings(self) -> str:
        """The fewest and the most tiles."""
        return f"{self.least}-{self.most}"

    def grid(self, size: Size, side: int) -> Grid:
        """The grid with the nearest aspect ratio; among equal ones the largest that the picture at least half fills."""
        width, height = size
        nearest, best = float("inf"), (1, 1)
        for columns, rows in _arrangements(self.least, self.most):
            apart = abs(width / height - columns / rows)
            if apart < nearest or (apart == nearest and width * height > 0.5 * side * side * columns * rows):
                nearest, best = apart, (columns, rows)
        return _grid(size, *best)

    def cut(self, image: Image.Image, side: int, grid: Grid) -> list[Image.Image]:
        """The tiles, then the thumbnail."""
        spread = image.resize((grid.columns * side, grid.rows * side), Image.Resampling.BICUBIC)
        last = [image.resize((side, side), Image.Resampling.BICUBIC)] if grid.whole else []
        return [*tiles_of(spread, side), *last]

    def pieces(self, grid: Grid, tokens: int) -> tuple[Piece, ...]:
        """The positions of all tiles."""
        return (grid.tiles * tokens,)

    def grids(self) -> Iterator[Grid]:
        """Every grid."""
        for columns, rows in _arrangements(self.least, self.most):
            yield _grid((columns, rows), columns, rows)


def _grid(size: Size, columns: int, rows: int) -> Grid:
    return Grid(size, rows, columns, "last" if rows * columns > 1 else None)


@lru_cache(maxsize=8)
def _arrangements(least: int, most: int) -> tuple[tuple[int, int], ...]:
    """Columns and rows of every grid, from the smallest to the largest."""
    every = [(columns, rows) for columns in range(1, most + 1) for rows in range(1, most + 1)]
    return tuple(sorted((pair for pair in every if least <= pair[0] * pair[1] <= most), key=lambda p: p[0] * p[1]))
