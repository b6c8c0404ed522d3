"""The frozen head: what it is made of, what it reads, and trained rows beside its own.

A head is one matrix, ``[vocabulary, width]``. To know it as that, and not only as a call, lets the loss be taken chunk
by chunk without the scores of a whole batch (:mod:`inlay.adapters.language.cross_entropy`). Who has put something else
in its place (offloading, quantisation, a hook) keeps the call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FrozenHead", "RowScores", "frozen_head", "handed_through"]


class RowScores:
    """Stands in for a head's call: the head's own scores, and one more for each trained row.

    Args:
        own: the head's call.
        rows: ``[R, width]``, trained.
        places: ``[R]``, the ids of the rows; the head's own row of such an id, if it has one, is not asked.
    """

    def __init__(self, own: Any, rows: Tensor, places: Tensor) -> None:
        self.own, self.rows, self.places = own, rows, places
        self.top = int(places.max()) + 1

    def __call__(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``[..., width]`` -> ``[..., max(vocabulary, top)]``."""
        known: Tensor = self.own(hidden, *args, **kwargs)
        new = F.linear(hidden, self.rows.to(hidden.dtype)).to(known.dtype)
        # An id that neither the head nor we have a row for can never be written.
        wide = F.pad(known, (0, max(0, self.top - known.shape[-1])), value=float("-inf"))
        return wide.index_copy(-1, self.places.to(new.device), new)


@dataclass(frozen=True)
class FrozenHead:
    """A head that is nothing but a frozen matrix, perhaps with trained rows."""

    weight: Tensor
    """``[vocabulary, width]``, frozen."""
    bias: Tensor | None = None
    """``[vocabulary]``, frozen."""
    rows: Tensor | None = None
    """``[R, width]``, trained."""
    places: Tensor | None = None
    """``[R]``, the ids of the trained rows."""

    @property
    def width(self) -> int:
        """Scores per position."""
        return max(len(self.weight), 0 if self.places is None else int(self.places.max()) + 1)


def frozen_head(model: Any) -> FrozenHead | None:
    """The head of a language model as tensors; None where it is more than a frozen linear layer."""
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or head._forward_hooks or head._forward_pre_hooks:
        return None
    if any(parameter.requires_grad or parameter.is_meta for parameter in head.parameters()):
        return None
    call = head.__dict__.get("forward")
    if call is None:
        return FrozenHead(head.weight, head.bias)
    if isinstance(call, RowScores) and getattr(call.own, "__func__", None) is nn.Linear.forward:
        return FrozenHead(head.weight, head.bias, call.rows, call.places.to(head.weight.device))
    return None


@contextmanager
def handed_through(model: Any) -> Iterator[list[Tensor]]:
    """While this lasts, the head returns what it is given; what that was is in the list.

    If the model then gives back that very tensor as its scores, nothing stands behind the head (no soft cap, no scale).
    """
    head = model.get_output_embeddings()
    before = head.__dict__.get("forward")
    seen: list[Tensor] = []

    def keep(hidden: Tensor) -> Tensor:
        seen.append(hidden)
        return hidden

    head.__dict__["forward"] = keep
    try:
        yield seen
    finally:
        del head.__dict__["forward"]
        if before is not None:
            head.__dict__["forward"] = before
