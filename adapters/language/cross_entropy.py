"""Cross-entropy of a frozen head in chunks of rows: only one chunk's logits ``[rows, vocabulary]`` are in memory.

The matrix ``W`` of a frozen head needs no gradient, so the backward pass needs only the gradient to the hidden states,
``d loss_i / d h_i = (softmax(W h_i) - onehot(t_i)) W``. It is computed chunk by chunk in the forward pass, together
with the losses, and stored: ``N x width`` numbers instead of several times ``N x vocabulary``. Liger's fused linear
cross-entropy works in the same chunks (Hsu et al., 2024, https://arxiv.org/abs/2410.10989). Trained token rows of the
head get their gradient from their own columns of the softmax, ``N x rows`` numbers.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from inlay.adapters.language.lm_head import FrozenHead
from inlay.adapters.language.precision import computed_in

__all__ = ["CHUNK_BYTES", "frozen_cross_entropy"]

CHUNK_BYTES = 32 << 20
"""Size of one chunk's scores in float32: 262 rows of 32 000 words."""


def frozen_cross_entropy(
    hidden: Tensor, head: FrozenHead, targets: Tensor, *, rows_at_once: int | None = None
) -> Tensor:
    """``-log softmax(head(hidden))[target]`` of each row: scores in the head's dtype, softmax in float32.

    Args:
        hidden: ``[N, width]``, the head's input at labelled positions.
        head: frozen; its trained rows get a gradient.
        targets: ``[N]``.
        rows_at_once: rows of a chunk; by default as many as fit into :data:`CHUNK_BYTES`.

    Returns:
        ``[N]`` in float32.

    Example:
        >>> head = FrozenHead(torch.eye(3))
        >>> [round(loss, 4) for loss in frozen_cross_entropy(torch.zeros(2, 3), head, torch.tensor([0, 2])).tolist()]
        [1.0986, 1.0986]
    """
    chunk = rows_at_once or max(1, CHUNK_BYTES // (4 * head.width))
    apply: Any = _FrozenCrossEntropy.apply
    losses: Tensor = apply(hidden, head.rows, head, targets, chunk)
    return losses


class _FrozenCrossEntropy(torch.autograd.Function):
    """The losses, and in the same pass the tensors for their gradients."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, rows: Tensor | None, head: FrozenHead, targets: Tensor, chunk: int) -> Tensor:
        """Losses and the gradient of each to its hidden state, chunk by chunk."""
        kind = computed_in(hidden)
        trained = rows is not None and ctx.needs_input_grad[1]
        to_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        to_scores = hidden.new_empty(len(hidden), len(rows), dtype=kind) if rows is not None and trained else None
        losses = hidden.new_empty(len(hidden), dtype=torch.float32)
        with torch.autocast(hidden.device.type, enabled=False):
            weight, bias = head.weight.to(kind), None if head.bias is None else head.bias.to(kind)
            own = None if rows is None else rows.to(kind)
            for start in range(0, len(hidden), chunk):
                at = slice(start, start + chunk)
                part, wanted = hidden[at].to(kind), targets[at, None]
                scores = _scores(part, weight, bias, own, head.places, head.width)
                level = scores.logsumexp(dim=1, keepdim=True)
                losses[at] = (level - scores.gather(1, wanted))[:, 0]
                if to_hidden is None and to_scores is None:
                    continue
                # In place: the scores become the softmax, then the gradient to the scores.
                pull = scores.sub_(level).exp_().scatter_add_(1, wanted, scores.new_full(wanted.shape, -1.0)).to(kind)
                new = None
                if head.places is not None:
                    new = pull.index_select(1, head.places)
                    pull.index_fill_(1, head.places, 0.0)
                if to_scores is not None and new is not None:
                    to_scores[at] = new
                if to_hidden is not None:
                    down = pull[:, : len(weight)] @ weight
                    to_hidden[at] = down if own is None or new is None else down.addmm_(new, own)
        ctx.save_for_backward(to_hidden, to_scores, hidden if trained else None)
        ctx.rows_dtype = None if rows is None else rows.dtype
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pull: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """The stored gradients, times the gradient of each row's loss."""
        to_hidden, to_scores, hidden = ctx.saved_tensors
        down = to_rows = None
        if to_hidden is not None:
            down = (to_hidden * pull[:, None]).to(to_hidden.dtype)
        if to_scores is not None:
            to_rows = ((to_scores * pull[:, None]).t() @ hidden.to(pull.dtype)).to(ctx.rows_dtype)
        return down, to_rows, None, None, None


def _scores(
    part: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor | None, places: Tensor | None, width: int
) -> Tensor:
    """``[n, width]`` -> ``[n, head width]`` in float32, computed in the dtype of the head."""
    scores = F.linear(part, weight, bias).float()
    if rows is None or places is None:
        return scores
    wide = F.pad(scores, (0, width - scores.shape[1]), value=float("-inf"))
    return wide.index_copy_(1, places, F.linear(part, rows).float())
