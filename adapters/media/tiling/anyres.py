"""LLaVA 1.6's AnyRes (Liu et al., 2024, https://llava-vl.github.io/blog/2024-01-30-llava-next/).

The picture is resized to fit the best of a few canvases, with its aspect ratio kept and black padding, and cut into
tiles; the whole picture, squashed into one tile, comes first. The features of the tiles are joined to one map, rows and
columns of the padding are removed (``spatial_unpad``), and each row of the map ends with a trained embedding
(``image_newline``). Equal to transformers' ``LlavaNextForConditionalGeneration``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from PIL import Image

from inlay.adapters.media.tiling.grid import Grid, Piece, Size, Tiling, TilingError, tiles_of

__all__ = ["AnyRes", "unpadded"]

_LLAVA = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
"""LLaVA 1.6's ``grid_pinpoints`` in tiles: (rows, columns)."""
_MOST = 64
"""Limit on canvases, and on the tiles of one canvas."""
_THIN = 65_535
"""Limit on the longer side of a picture, in pixels."""


@dataclass(frozen=True)
class AnyRes(Tiling):
    """Tiling by the best of several canvases.

    Example:
        >>> AnyRes().grid((1000, 500), side=336)
        Grid(size=(1000, 500), rows=1, columns=2, whole='first')
    """

    canvases: tuple[tuple[int, int], ...] = _LLAVA
    """Rows and columns of each canvas, in tiles; among equally good ones the first is chosen."""

    name: ClassVar[str] = "anyres"
    newline: ClassVar[bool] = True

    @classmethod
    def parse(cls, settings: str) -> Self:
        """``2x2,1x3``: rows x columns of each canvas; LLaVA 1.6's five if empty."""
        if not settings:
            return cls()
        found = [re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", part) for part in settings.split(",")]
        canvases = tuple((int(match[1]), int(match[2])) for match in found if match)
        if len(canvases) != len(found) or len(found) > _MOST or any(r * c > _MOST for r, c in canvases):
            raise TilingError(
                f"anyres: expected up to {_MOST} canvases as rows x columns in tiles, at most {_MOST} tiles each, such "
                f"as 'anyres:1x2,2x2', got {settings!r}"
            )
        return cls(canvases)

    @property
    def settings(self) -> str:
        """Rows x columns of each canvas."""
        return ",".join(f"{rows}x{columns}" for rows, columns in self.canvases)

    def grid(self, size: Size, side: int) -> Grid:
        """The canvas that keeps most pixels of the picture, and among equal ones has the least padding."""
        width, height = size

        def kept(canvas: tuple[int, int]) -> tuple[int, int]:
            rows, columns = canvas
            scale = min(columns * side / width, rows * side / height)
            used = min(int(width * scale) * int(height * scale), width * height)
            return used, used - rows * columns * side * side

        rows, columns = max(self.canvases, key=kept)
        return Grid(size, rows, columns, "first")

    def cut(self, image: Image.Image, side: int, grid: Grid) -> list[Image.Image]:
        """The whole picture, then the tiles of the canvas."""
        width, height = grid.columns * side, grid.rows * side
        across, down = width / image.width, height / image.height
        if across < down:
            new = width, min(math.ceil(image.height * across), height)
        else:
            new = min(math.ceil(image.width * down), width), height
        canvas = Image.new("RGB", (width, height))
        canvas.paste(image.resize(new, Image.Resampling.BICUBIC), ((width - new[0]) // 2, (height - new[1]) // 2))
        return [image.resize((side, side), Image.Resampling.BICUBIC), *tiles_of(canvas, side)]

    def pieces(self, grid: Grid, tokens: int) -> tuple[Piece, ...]:
        """Positions of the whole picture, of the map without padding, and of one newline per row."""
        across = math.isqrt(tokens)
        if across * across != tokens:
            raise TilingError(
                f"anyres: expected a square number of tokens per tile, which form a map, got {tokens}; drop the class "
                "token (class_token='drop'), or choose a projector that keeps the map, such as 'mlp', or another "
                "tiling, such as 'tiles'"
            )
        top, bottom, left, right = unpadded(grid.size, grid.rows * across, grid.columns * across)
        return (tokens + (bottom - top) * (right - left + 1),)

    def grids(self) -> Iterator[Grid]:
        """Grids of pictures that fill a canvas, and of two narrow ones, which leave few positions."""
        for rows, columns in self.canvases:
            yield Grid((columns, rows), rows, columns, "first")
        for size in ((_THIN, 1), (1, _THIN)):
            yield self.grid(size, 1)


def unpadded(size: Size, rows: int, columns: int) -> tuple[int, int, int, int]:
    """The part of a map without padding.

    Args:
        size: the size of the picture.
        rows: the number of rows of the map.
        columns: the number of columns of the map.

    Returns:
        First row, last row + 1, first column, last column + 1.

    Example:
        >>> unpadded((200, 100), rows=8, columns=8)
        (2, 6, 0, 8)
    """
    width, height = size
    # Rounded as in transformers, because of values such as 11.999999999999998.
    if width / height > columns / rows:
        padding = (rows - int(round(height * (columns / width), 7))) // 2
        return padding, rows - padding, 0, columns
    padding = (columns - int(round(width * (rows / height), 7))) // 2
    return 0, rows, padding, columns - padding
