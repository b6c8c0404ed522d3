"""The frozen LM head: its matrix, its input, and additional trained rows.

If the logits of a model are the product with one frozen matrix ``[vocabulary, width]``, the loss can be computed in
chunks, without the logits of a whole batch in memory (:mod:`inlay.adapters.language.cross_entropy`). Two conditions are
checked: the head module is a plain linear layer (no quantisation, no offloading, no hook), and the model returns its
output unchanged (no scale, soft cap, bias or mask after it). The second is tested on the model itself by
:func:`returns_head_scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inlay.adapters.language.precision import computed_in

__all__ = [
    "FrozenHead",
    "RowScores",
    "frozen_head",
    "head_input",
    "head_reads",
    "of_this_thread",
    "returns_head_scores",
]

_LOUD = 300.0
"""Logit to which one position of the check is scaled; published soft caps are 30 to 50."""


class RowScores:
    """Replaces the call of a head: its own logits, and one more logit for each trained row.

    Args:
        own: the head's call.
        rows: ``[R, width]``, trained.
        places: ``[R]``, the ids of the rows; they take precedence over rows of the head with the same ids.
    """

    def __init__(self, own: Any, rows: Tensor, places: Tensor) -> None:
        self.own, self.rows, self.places = own, rows, places
        self.top = int(places.max()) + 1

    def __call__(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``[..., width]`` -> ``[..., max(vocabulary, top)]``."""
        known: Tensor = self.own(hidden, *args, **kwargs)
        new = F.linear(hidden, self.rows.to(hidden.dtype)).to(known.dtype)
        # An id without a row in the head or here is never generated.
        wide = F.pad(known, (0, max(0, self.top - known.shape[-1])), value=float("-inf"))
        return wide.index_copy(-1, self.places.to(new.device), new)


@dataclass(frozen=True)
class FrozenHead:
    """A head that consists of a frozen matrix and, optionally, trained rows."""

    weight: Tensor
    """``[vocabulary, width]``, frozen."""
    bias: Tensor | None = None
    """``[vocabulary]``, frozen."""
    rows: Tensor | None = None
    """``[R, width]``, trained."""
    places: Tensor | None = None
    """``[R]``, the ids of the trained rows."""
    top: int = 0
    """The largest of these ids plus one; read from ``places`` if it is not given."""

    def __post_init__(self) -> None:
        if self.places is not None and not self.top:
            object.__setattr__(self, "top", int(self.places.max()) + 1)

    @property
    def width(self) -> int:
        """Scores per position."""
        return max(len(self.weight), self.top)


def frozen_head(model: Any) -> FrozenHead | None:
    """The head of a language model as tensors; None if it is anything but a frozen linear layer."""
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or head._forward_hooks or head._forward_pre_hooks:
        return None
    if any(parameter.requires_grad or parameter.is_meta for parameter in head.parameters()):
        return None
    call = head.__dict__.get("forward")
    if call is None:
        return FrozenHead(head.weight, head.bias)
    if isinstance(call, RowScores) and getattr(call.own, "__func__", None) is nn.Linear.forward:
        return FrozenHead(head.weight, head.bias, call.rows, call.places.to(head.weight.device), call.top)
    return None


def of_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Restrict a hook to the calling thread, because other threads may use the same model."""
    owner = get_ident()
    return lambda *call: hook(*call) if get_ident() == owner else None


@contextmanager
def head_reads(model: Any, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace the input of a model's head by ``change(hidden)``; without a head module nothing happens."""
    head = model.get_output_embeddings()
    if head is None:
        yield
        return
    handle = head.register_forward_pre_hook(of_this_thread(lambda _, given: (change(given[0]), *given[1:])))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def head_input(model: Any) -> Iterator[list[Tensor]]:
    """Collect the input ``[B, T, width]`` of the head; the head itself computes no position."""
    seen: list[Tensor] = []

    def take(hidden: Tensor) -> Tensor:
        seen.append(hidden)
        return hidden[:, :0]

    with head_reads(model, take):
        yield seen


def returns_head_scores(model: Any, head: FrozenHead, run: Callable[[], Tensor]) -> bool:
    """Test with a forward pass whether a model returns the output of its head unchanged.

    The input of the head is set to zero, to natural size and to a size with logits of 300. This reveals a bias, a scale
    and a soft cap after the head, and logits that are overwritten.

    Args:
        model: the language model.
        head: its head.
        run: a forward pass over at least three positions; returns the logits ``[B, T, vocabulary]``.
    """
    read: list[Tensor] = []

    def scaled(hidden: Tensor) -> Tensor:
        loudest = _scores(head, hidden[:, 1:2]).nan_to_num(neginf=0.0).abs().amax()
        factors = hidden.new_ones(1, hidden.shape[1], 1)
        factors[:, 0] = 0.0
        factors[:, 1] = _LOUD / loudest.clamp(min=1e-6)
        read.append(hidden * factors)
        return read[0]

    with torch.no_grad(), head_reads(model, scaled):
        scores = run()
        if not read or scores.shape[:2] != read[0].shape[:2]:
            return False
        wanted = _scores(head, read[0])
    if scores.shape != wanted.shape:
        return False
    # Compared in the head's own dtype; float32 products of other shapes differ in the last digits.
    tolerance = max(1e-5, 4 * torch.finfo(computed_in(read[0])).eps)
    bound = tolerance * wanted.nan_to_num(neginf=0.0).abs().amax(dim=-1, keepdim=True)
    same = (scores.float() == wanted) | ((scores.float() - wanted).abs() <= bound)
    return bool(same.all())


def _scores(head: FrozenHead, hidden: Tensor) -> Tensor:
    """``[B, T, width]`` -> ``[B, T, head.width]`` in float32, computed as the head computes them."""
    scores = F.linear(hidden, head.weight, head.bias).float()
    if head.rows is None or head.places is None:
        return scores
    wide = F.pad(scores, (0, head.width - scores.shape[-1]), value=float("-inf"))
    return wide.index_copy(-1, head.places, F.linear(hidden, head.rows.to(hidden.dtype)).float())
