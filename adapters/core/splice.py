"""Inserting projected features into the embeddings of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError

__all__ = ["SpliceError", "in_order", "insert"]


class SpliceError(InlayError):
    """The number of features differs from the number of slots."""


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
            f"{len(features)}: the encoder or projector gives a different number of tokens than when it was measured"
        )
    index = slots.unsqueeze(-1).expand_as(embeddings)
    return embeddings.masked_scatter(index, features.to(embeddings.dtype))


def in_order(projected: Mapping[Modality, Tensor | Sequence[Tensor]], order: Sequence[Modality]) -> Tensor:
    """Projected features of all media, in reading order: ``[N, width]``.

    Args:
        projected: modality -> its projected features ``[n, tokens, width]``, or ``n`` tensors ``[tokens, width]`` of
            different lengths.
        order: the modality of each medium.
    """
    if len(set(order)) == 1:
        own = projected[order[0]]
        return own.flatten(0, 1) if isinstance(own, Tensor) else torch.cat(list(own))
    rows = {name: iter(own) for name, own in projected.items()}
    return torch.cat([next(rows[modality]) for modality in order])
