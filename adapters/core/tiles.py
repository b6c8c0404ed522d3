"""Pictures as tiles: the grid of each picture, its squares for the encoder, and its features in reading order.

The encoder and the projector process each tile as a separate picture, so tiling works with all of them. Layouts without
tiling do not use this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.core.prompts import Prompts
from inlay.adapters.encoders.protocol import Inputs
from inlay.adapters.media.geometry import Geometry
from inlay.adapters.media.image import picture_size
from inlay.adapters.media.tiling.anyres import unpadded
from inlay.adapters.media.tiling.grid import Grid, Piece, Tiling, TilingError, counted

__all__ = ["Tiler", "Tiles", "arrange", "keeps_map", "per_tile", "prepared"]


@dataclass(frozen=True)
class Tiler:
    """A tiling rule for one encoder and projector.

    Args:
        rule: the layout's tiling rule.
        side: the side of the encoder's square, in pixels.
        tokens: LLM positions of one tile.
    """

    rule: Tiling
    side: int
    tokens: int

    @classmethod
    def of(cls, rule: Tiling, encoder: Any, tokens: int) -> Tiler:
        """The rule for an encoder and a projector with ``tokens`` positions per tile.

        Raises:
            TilingError: the encoder does not take square pictures, or the rule cannot arrange this number of positions.
        """
        square = encoder.preprocess([Image.new("RGB", (1, 1))], "squash")
        if not isinstance(square, Tensor) or square.dim() != 4 or square.shape[-1] != square.shape[-2]:
            raise TilingError(
                f"tiling {rule.name}: expected an encoder whose preprocessed pictures are [n, 3, size, size], "
                f"{type(encoder).__name__} gives another form; remove the tiling"
            )
        tiler = cls(rule, square.shape[-1], tokens)
        tiler.pieces(Grid((1, 1), 1, 1, "first"))
        return tiler

    def grid(self, source: Any) -> Grid:
        """The grid of a picture; only the header of a file is read.

        Raises:
            MediaError: the picture cannot be read.
        """
        return self.rule.grid(picture_size(source), self.side)

    def pieces(self, grid: Grid) -> tuple[Piece, ...]:
        """Texts and numbers of positions of a picture, in sequence order."""
        return self.rule.pieces(grid, self.tokens)

    def bounds(self) -> tuple[int, int]:
        """The smallest and the largest number of feature positions of one picture of any size."""
        counts = [counted(self.pieces(grid)) for grid in self.rule.grids()]
        return min(counts), max(counts)

    def largest(self) -> int:
        """An upper bound of the tokens of one picture: its features, and its texts with one token per byte."""
        return max(
            sum(piece if isinstance(piece, int) else len(piece.encode()) for piece in self.pieces(grid))
            for grid in self.rule.grids()
        )


@dataclass(frozen=True)
class Tiles:
    """The tiles of the pictures of a batch, in reading order."""

    rule: Tiling
    grids: tuple[Grid, ...]


def keeps_map(projector: Any, features: int) -> bool:
    """Whether the positions of a tile form a map of the picture, row by row, as its features do.

    A projector with one position for each feature keeps the map. One that merges squares of features declares it with
    the attribute ``keeps_map = True``. Queries, or merged runs of features, are no map, even if their number is square.
    """
    known = getattr(projector, "keeps_map", None)
    if known is not None:
        return bool(known)
    return all(projector.tokens(count) == count for count in (features, 4 * features))


def prepared(
    encoder: Any, media: Sequence[Any], geometry: Geometry, tiler: Tiler | None, grids: Sequence[Grid | None]
) -> Inputs:
    """The encoder's input for media, or for all their tiles.

    Args:
        encoder: the encoder of the media's modality.
        media: the loaded media.
        geometry: how a picture becomes one square.
        tiler: the rule that cuts each picture into several squares; None for no tiling.
        grids: the grid of each picture, if there is a tiler.
    """
    if tiler is not None:
        placed = [(picture, grid) for picture, grid in zip(media, grids, strict=True) if grid is not None]
        media = [square for picture, grid in placed for square in tiler.rule.cut(picture, tiler.side, grid)]
        geometry = "squash"  # a tile already is a square of this size
    inputs: Inputs = encoder.preprocess(media, geometry)
    return inputs


def per_tile(prompts: Prompts | None, tiles: Tiles) -> Prompts | None:
    """The instruction of each picture's turn, once for each of its tiles."""
    if prompts is None:
        return None
    counts = torch.tensor([grid.tiles for grid in tiles.grids], dtype=torch.long, device=prompts.ids.device)
    ids, mask = (tensor.repeat_interleave(counts, dim=0) for tensor in (prompts.ids, prompts.mask))
    return replace(prompts, ids=ids, mask=mask)


def arrange(projected: Tensor, tiles: Tiles, newline: Tensor | None) -> list[Tensor]:
    """Projected tiles in the order of the sequence.

    Args:
        projected: ``[tiles, tokens, width]`` of all pictures.
        tiles: the grid of each picture.
        newline: ``[width]``, for a rule that has one.

    Returns:
        ``[positions, width]`` of each picture.
    """
    each = torch.split(projected, [grid.tiles for grid in tiles.grids])
    if newline is None:
        return [own.flatten(0, 1) for own in each]
    return [_mapped(own, grid, newline) for own, grid in zip(each, tiles.grids, strict=True)]


def _mapped(own: Tensor, grid: Grid, newline: Tensor) -> Tensor:
    """The whole picture, then the map of the other tiles without padding, with a newline after each row.

    ``[1 + rows * columns, tokens, width]`` -> ``[positions, width]``.
    """
    across = math.isqrt(own.shape[1])
    parts = own[1:].reshape(grid.rows, grid.columns, across, across, -1)
    joined = parts.transpose(1, 2).flatten(2, 3).flatten(0, 1)
    top, bottom, left, right = unpadded(grid.size, *joined.shape[:2])
    shown = joined[top:bottom, left:right]
    ended = torch.cat([shown, newline.to(shown).expand(len(shown), 1, -1)], dim=1)
    return torch.cat([own[0], ended.flatten(0, 1)])
