"""Pure tensor functions: features into embeddings, ragged sequences into one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from inlay.adapters.conversation.messages import Modality
from inlay.hub.errors import InlayError

__all__ = ["IGNORE", "PadSide", "SpliceError", "in_order", "insert", "labelled_rows", "pad"]

IGNORE = -100
"""Label of positions that the loss leaves out."""

PadSide: TypeAlias = Literal["left", "right"]


class SpliceError(InlayError):
    """The number of features differs from the number of places that were kept for them."""


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


def insert(embeddings: Tensor, slots: Tensor, features: Tensor, names: Sequence[str] = ()) -> Tensor:
    """Put features into their slots.

    Args:
        embeddings: ``[B, T, width]``.
        slots: ``[B, T]`` bool, True where a feature belongs.
        features: ``[N, width]``, all features of the batch in reading order.
        names: sample ids, for the error.

    Returns:
        ``[B, T, width]``; gradients flow into ``features``.

    Raises:
        SpliceError: ``slots.sum() != N``, with both counts.

    Example:
        >>> slots = torch.tensor([[False, True, False]])
        >>> insert(torch.zeros(1, 3, 2), slots, torch.ones(1, 2))[0].tolist()
        [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    """
    wanted = int(slots.sum())
    if wanted != len(features):
        per_sample = ", ".join(f"{name}: {int(row.sum())}" for name, row in zip(names, slots, strict=False))
        raise SpliceError(
            f"expected {wanted} features for the media slots of this batch ({per_sample or 'unnamed samples'}), got "
            f"{len(features)}: the encoder or projector gives another number of tokens than when it was probed"
        )
    index = slots.unsqueeze(-1).expand_as(embeddings)
    return embeddings.masked_scatter(index, features.to(embeddings.dtype))


def in_order(projected: Mapping[Modality, Tensor], order: Sequence[Modality]) -> Tensor:
    """Projected features ``[n, tokens, width]`` of each modality -> of all media, in reading order: ``[N, width]``."""
    if len(set(order)) == 1:
        return projected[order[0]].flatten(0, 1)
    rows = {name: iter(tensor) for name, tensor in projected.items()}
    return torch.cat([next(rows[modality]) for modality in order])


def labelled_rows(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which positions predict a labelled token, and what they must predict.

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
