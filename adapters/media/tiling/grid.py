"""The interface of a tiling rule: size of a picture -> grid of tiles -> squares for the encoder and their positions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, TypeAlias

from PIL import Image

from inlay.hub.errors import InlayError

__all__ = ["Grid", "Piece", "Size", "Tiling", "TilingError", "counted", "tiles_of"]

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels, as in Pillow."""

Piece: TypeAlias = str | int
"""A text between tiles, or a number of positions for features."""


class TilingError(InlayError):
    """A tiling rule is unknown, has settings out of bounds, or does not fit an encoder or projector."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The tiles of one picture."""

    size: Size
    """Size of the picture."""
    rows: int
    columns: int
    whole: Literal["first", "last"] | None
    """Position of a tile with the whole picture, in addition to the ``rows * columns`` parts; None without one."""

    @property
    def tiles(self) -> int:
        """Number of squares for the encoder."""
        return self.rows * self.columns + (self.whole is not None)


class Tiling(ABC):
    """A tiling rule with its settings: a frozen dataclass of hashable fields."""

    name: ClassVar[str]
    """Name in the registry."""
    newline: ClassVar[bool] = False
    """Whether each row of features of the parts ends with a trained embedding, see
    :mod:`inlay.adapters.parts.newline`."""

    @classmethod
    @abstractmethod
    def parse(cls, settings: str) -> Self:
        """Parse a rule from the text after its name, which may be empty.

        Raises:
            TilingError: the text has another form.
        """

    @property
    @abstractmethod
    def settings(self) -> str:
        """The text that :meth:`parse` reads, with every setting."""

    @property
    def text(self) -> str:
        """Name and settings, as a bundle stores them."""
        return f"{self.name}:{self.settings}"

    @abstractmethod
    def grid(self, size: Size, side: int) -> Grid:
        """The tiles of a picture; a pure function.

        Args:
            size: the size of the picture.
            side: the side of a tile, in pixels.
        """

    @abstractmethod
    def cut(self, image: Image.Image, side: int, grid: Grid) -> list[Image.Image]:
        """``grid.tiles`` RGB pictures of ``side`` x ``side`` pixels, row by row."""

    @abstractmethod
    def pieces(self, grid: Grid, tokens: int) -> tuple[Piece, ...]:
        """Texts and numbers of positions of one picture in the sequence, in reading order.

        Args:
            grid: the grid of the picture.
            tokens: positions of one tile.

        Raises:
            TilingError: the rule cannot arrange this number of tokens.
        """

    @abstractmethod
    def grids(self) -> Iterator[Grid]:
        """Grids that include those with the fewest and the most positions, for the token budget."""


def counted(pieces: tuple[Piece, ...]) -> int:
    """Number of positions for features.

    Example:
        >>> counted(("<row_1_col_1>", 64, "<global-img>", 64))
        128
    """
    return sum(piece for piece in pieces if isinstance(piece, int))


def tiles_of(image: Image.Image, side: int) -> list[Image.Image]:
    """Cut a picture whose sides are multiples of ``side`` into squares, row by row.

    Example:
        >>> len(tiles_of(Image.new("RGB", (24, 16)), 8))
        6
    """
    width, height = image.size
    return [
        image.crop((left, top, left + side, top + side))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
