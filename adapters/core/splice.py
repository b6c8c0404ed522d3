"""Inserting projected features into the embeddings of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError

__all__ = ["SpliceError", "in_order", "insert"]


class SpliceError(InlayError):
    """Number or width of features differ from those of the places that were kept for them."""


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
        SpliceError: ``slots.sum() != N``, with both counts; features of another width than the embeddings.

    Example:
        >>> slots = torch.tensor([[False, True, False]])
        >>> insert(torch.zeros(1, 3, 2), slots, torch.ones(1, 2))[0].tolist()
        [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    """
    wanted = int(slots.sum())
    if wanted != len(features):
        counts = [f"{name}: {int(row.sum())}" for name, row in zip(names, slots, strict=False) if name]
        where = f" ({', '.join(counts)})" if counts else ""
        raise SpliceError(
            f"expected {wanted} features for the media slots of this batch{where}, got {len(features)}: "
            f"the encoder or projector gives another number of tokens than it says (`tokens`)"
        )
    if features.shape[1:] != embeddings.shape[2:]:
        raise SpliceError(
            f"expected features [{wanted}, {embeddings.shape[2]}], as wide as the LLM's embeddings, got "
            f"{list(features.shape)}: the projector's output is not `width_out` wide"
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
