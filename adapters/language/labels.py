"""Labels of token ids, and padding of rows of different lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["IGNORE", "PadSide", "labelled_rows", "pad"]

IGNORE = -100
"""Label of positions that are not part of the loss."""

PadSide: TypeAlias = Literal["left", "right"]


def pad(rows: Sequence[Tensor], value: int, side: PadSide) -> Tensor:
    """Stack rows ``[T_i]`` of any length into ``[B, max(T_i)]``.

    Example:
        >>> pad([torch.tensor([1, 2]), torch.tensor([3])], 0, "left").tolist()
        [[1, 2], [0, 3]]
    """
    width = max(len(row) for row in rows)
    stacked = rows[0].new_full((len(rows), width), value)
    for index, row in enumerate(rows):
        start = width - len(row) if side == "left" else 0
        stacked[index, start : start + len(row)] = row
    return stacked


def labelled_rows(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The positions that predict a labelled token, and the tokens that they predict.

    Args:
        labels: ``[B, T]``, :data:`IGNORE` where there is no label.

    Returns:
        ``rows`` ``[B, T]`` bool, shifted by one (position ``t`` predicts token ``t + 1``), and ``targets``
        ``[rows.sum()]`` in the same order.

    Example:
        >>> rows, targets = labelled_rows(torch.tensor([[IGNORE, IGNORE, 7, 8]]))
        >>> rows.tolist(), targets.tolist()
        ([[False, True, True, False]], [7, 8])
    """
    following = torch.cat([labels[:, 1:], labels.new_full((len(labels), 1), IGNORE)], dim=1)
    rows = following != IGNORE
    return rows, following[rows]
