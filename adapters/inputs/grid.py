"""The grid of an image encoder's features: rows and columns, cut into squares.

Features stand in reading order: row by row from the top left corner. The grid is square unless its rows are given.
"""

from __future__ import annotations

import math

from torch import Tensor

from inlay.adapters.inputs.protocol import ProjectorError

__all__ = ["check_grid", "squares_of"]

_MOST = 16
"""Largest factor that an error suggests."""


def check_grid(features: int, factor: int, *, rows: int = 0, class_token: bool = False) -> tuple[int, int]:
    """Rows and columns of squares for a number of features.

    Args:
        features: the features of one image; a class token counts.
        factor: side of a square, in features.
        rows: rows of the grid; 0 for a square grid.
        class_token: whether the first feature is a class token, which is not part of the grid.

    Raises:
        ProjectorError: the features form no such grid, or the factor does not divide its sides.

    Example:
        >>> check_grid(1024, 4), check_grid(12, 2, rows=2)
        ((8, 8), (1, 3))
    """
    patches = features - class_token
    high = rows or math.isqrt(max(patches, 0))
    if patches < 1 or patches % high or (not rows and high * high != patches):
        shape = f"a grid of {rows} rows" if rows else "a square grid"
        raise ProjectorError(
            f"expected {shape} of features, got {patches}; set rows to the rows of the encoder's grid "
            "(projector_options, such as '{\"rows\": 2}'), or drop its special tokens (class_token)"
        )
    wide = patches // high
    if high % factor or wide % factor:
        fitting = [str(side) for side in range(2, _MOST + 1) if not high % side and not wide % side]
        advice = f"choose factor {' or '.join(fitting)} (projector_options)" if fitting else "choose another image size"
        raise ProjectorError(
            f"expected a grid whose sides factor = {factor} divides, got {high} x {wide} features; {advice}"
        )
    return high // factor, wide // factor


def squares_of(features: Tensor, factor: int, *, rows: int = 0, class_token: bool = False) -> Tensor:
    """``[n, features, width]`` -> ``[n, squares, factor * factor, width]``, all in reading order.

    Raises:
        ProjectorError: as in :func:`check_grid`.
    """
    high, wide = check_grid(features.shape[1], factor, rows=rows, class_token=class_token)
    count, _, width = features.shape
    grid = features[:, int(class_token) :].reshape(count, high, factor, wide, factor, width)
    return grid.transpose(2, 3).reshape(count, high * wide, factor * factor, width)
