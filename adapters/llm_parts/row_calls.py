"""Replacement calls of embedding and head, which add token rows.

The module objects are kept, so their names, weights, hooks and sharing do not change. A call that another library has
replaced before (for example accelerate's offloading) is called, and put back afterwards.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inlay.adapters.language.lm_head import RowScores
from inlay.adapters.parts.undo import Undo

__all__ = ["HeadCall", "RowEmbeddings", "replace_call"]


class RowEmbeddings:
    """Replaces an embedding's call: its own vectors, and trained rows for new ids.

    Args:
        own: the embedding's call.
        rows: ``[R, width]``, trained.
        places: ``[R]``, the ids of the rows; the embedding's own row of such an id, if it has one, is not used.
    """

    attached = True

    def __init__(self, own: Any, rows: Tensor, places: Tensor) -> None:
        self.own, self.rows, self.places = own, rows, places

    def __call__(self, ids: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``[..., T]`` -> ``[..., T, width]``."""
        if not self.attached:
            bare: Tensor = self.own(ids, *args, **kwargs)
            return bare
        hits = ids.unsqueeze(-1) == self.places.to(ids.device)
        new = hits.any(dim=-1)
        known: Tensor = self.own(ids.masked_fill(new, 0), *args, **kwargs)
        rows = F.embedding(hits.to(torch.uint8).argmax(dim=-1), self.rows).to(known.dtype)
        return torch.where(new.unsqueeze(-1), rows, known)


class HeadCall(RowScores):
    """Replaces a head's call, see :class:`~inlay.adapters.language.lm_head.RowScores`."""

    attached = True

    def __call__(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``[..., width]`` -> ``[..., max(vocabulary, top)]``."""
        if self.attached:
            return super().__call__(hidden, *args, **kwargs)
        bare: Tensor = self.own(hidden, *args, **kwargs)
        return bare


def replace_call(module: nn.Module, call: RowEmbeddings | HeadCall, undo: Undo) -> None:
    """Replace the call of a module; the step that puts the own call back is added to ``undo`` first."""
    undo.callback(_put_back, module, call, module.__dict__.get("forward"))
    module.__dict__["forward"] = call


def _put_back(module: nn.Module, call: RowEmbeddings | HeadCall, before: Any) -> None:
    call.attached = False  # a later replacement by another library stays, and ours is disabled
    if module.__dict__.get("forward") is call:
        del module.__dict__["forward"]
        if before is not None:
            module.__dict__["forward"] = before
