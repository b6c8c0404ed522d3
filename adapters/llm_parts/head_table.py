"""Statistics of a head's rows, also for a head that is not an ``nn.Linear`` and stores its matrix packed.

A head maps ``[..., width]`` to ``[..., vocabulary]``. A plain matrix is read directly; any other head is called with
unit vectors, for which its output is its columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["columns", "head_columns", "head_width"]

_AT_ONCE = 64
"""Unit vectors in one call: 64 x 150,000 scores in float32 are 38 MB."""


def columns(table: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation ``[width]`` of a table's columns, ``[n, width]``."""
    wide = table.float()
    return wide.mean(dim=0), wide.std(dim=0)


def head_columns(head: nn.Module, width: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation ``[width]`` over the vocabulary of a head's weights.

    Args:
        head: the module.
        width: values per input vector.
        like: a tensor with the device and dtype of its input.
    """
    plain = _plain(head)
    if plain is not None:
        return columns(plain)
    bias = head(like.new_zeros(1, width)).float()
    eye = torch.eye(width, dtype=like.dtype, device=like.device)
    pieces = [head(some).float() - bias for some in torch.split(eye, _AT_ONCE)]
    return torch.cat([piece.mean(dim=1) for piece in pieces]), torch.cat([piece.std(dim=1) for piece in pieces])


@torch.no_grad()
def head_width(head: nn.Module, width: int, *, like: Tensor) -> int | None:
    """Input width of a head: for a plain matrix its size, for any other ``width`` if a call succeeds, else None."""
    plain = _plain(head)
    if plain is not None:
        return int(plain.shape[1])
    try:
        scores = head(like.new_zeros(1, width))
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        return None
    return width if isinstance(scores, Tensor) and scores.ndim == 2 and len(scores) == 1 else None


def _plain(head: nn.Module) -> Tensor | None:
    """The matrix ``[vocabulary, width]`` of a linear that does not store it packed."""
    if isinstance(head, nn.Linear) and head.weight.is_floating_point() and head.weight.ndim == 2:
        return head.weight
    return None
