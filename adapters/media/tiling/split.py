"""Tiles with texts for their rows and columns, as in Idefics3 and SmolVLM (https://arxiv.org/abs/2408.12637).

The picture is resized so that its longer side has a fixed number of tiles, and stretched to whole tiles. Each tile
follows a text that names its row and column; the whole picture, squashed into one tile, comes last. The texts are
special tokens for a tokenizer that has them, or an adapter with rows for them; for others they are plain text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from PIL import Image

from inlay.adapters.media.tiling.grid import Grid, Piece, Size, Tiling, TilingError, tiles_of

__all__ = ["AROUND", "GLOBAL", "Split"]

AROUND = "<fake_token_around_image>"
"""Text before each tile and after the last."""
GLOBAL = "<global-img>"
"""Text before the whole picture."""
_MOST = 16
"""Tiles along a side."""
_LONGEST = 4096
"""Limit on the longer side of the resized picture, in pixels."""


@dataclass(frozen=True)
class Split(Tiling):
    """``along`` tiles along the longer side, and the whole picture.

    Example:
        >>> Split().grid((1000, 500), side=512)
        Grid(size=(1000, 500), rows=2, columns=4, whole='last')
    """

    along: int = 4
    """Tiles along the longer side."""

    name: ClassVar[str] = "split"

    @classmethod
    def parse(cls, settings: str) -> Self:
        """Parse the number of tiles along the longer side; 4, as in Idefics3 and SmolVLM, if empty."""
        if not settings:
            return cls()
        if not re.fullmatch(r"[1-9]\d?", settings) or int(settings) > _MOST:
            raise TilingError(
                f"split: expected the number of tiles along the longer side, up to {_MOST}, such as 'split:4', got "
                f"{settings!r}"
            )
        return cls(int(settings))

    @property
    def settings(self) -> str:
        """Tiles along the longer side."""
        return str(self.along)

    def grid(self, size: Size, side: int) -> Grid:
        """The grid of tiles of the resized picture; 0 x 0 if it is one tile."""
        width, height = _to_tiles(_resized(size, self.along * side), side)
        rows, columns = height // side, width // side
        return _grid(size, rows, columns)

    def cut(self, image: Image.Image, side: int, grid: Grid) -> list[Image.Image]:
        """The tiles, then the whole picture; resized twice, as the originals do."""
        lanczos = Image.Resampling.LANCZOS
        once = image.resize(_resized(image.size, self.along * side), lanczos)
        spread = once.resize((max(grid.columns, 1) * side, max(grid.rows, 1) * side), lanczos)
        parts = tiles_of(spread, side)
        return [*parts, spread.resize((side, side), lanczos)] if grid.rows else parts

    def pieces(self, grid: Grid, tokens: int) -> tuple[Piece, ...]:
        """Text and positions of each tile; a line break after each row, and one more before the whole picture."""
        pieces: list[Piece] = []
        before = ""
        for row in range(1, grid.rows + 1):
            for column in range(1, grid.columns + 1):
                pieces += [f"{before}{AROUND}<row_{row}_col_{column}>", tokens]
                before = ""
            before = "\n"
        return (*pieces, f"{before * 2}{AROUND}{GLOBAL}", tokens, AROUND)

    def grids(self) -> Iterator[Grid]:
        """One row, one column and a square of tiles."""
        for columns, rows in ((self.along, 1), (1, self.along), (self.along, self.along)):
            yield _grid((columns, rows), rows, columns)


def _grid(size: Size, rows: int, columns: int) -> Grid:
    return Grid(size, *((rows, columns) if rows * columns > 1 else (0, 0)), "last")


def _resized(size: Size, longest: int) -> Size:
    """The size whose longer side is ``longest``, or 4096 if that is less; the shorter one is rounded up to even."""
    width, height = size
    ratio = width / height
    if width >= height:
        width, height = longest, int(longest / ratio)
        height += height % 2
    else:
        width, height = int(longest * ratio), longest
        width += width % 2
    width, height = max(width, 1), max(height, 1)
    ratio = width / height
    if width >= height and width > _LONGEST:
        width, height = _LONGEST, int(_LONGEST / ratio)
    elif height > width and height > _LONGEST:
        width, height = int(_LONGEST * ratio), _LONGEST
    return max(width, 1), max(height, 1)


def _to_tiles(size: Size, side: int) -> Size:
    """Both sides rounded up to multiples of ``side``, the shorter one by the aspect ratio."""
    width, height = size
    ratio = width / height
    if width >= height:
        width = math.ceil(width / side) * side
        return width, max(math.ceil(int(width / ratio) / side), 1) * side
    height = math.ceil(height / side) * side
    return max(math.ceil(int(height * ratio) / side), 1) * side, height
