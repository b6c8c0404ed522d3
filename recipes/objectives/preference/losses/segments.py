"""Weights for the tokens of an answer: RLHF-V's changed segments (DDPO) and LD-DPO's tail.

Both replace ``Σ log p`` by ``Σ weight · log p`` for policy and reference alike; any loss then takes the weighted sums.

- DDPO (Yu et al., 2024, https://arxiv.org/abs/2312.00849): tokens in which the two answers differ weigh more.
- LD-DPO (Liu et al., 2024, https://arxiv.org/abs/2409.06411): tokens beyond the shorter answer weigh less.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from inlay.recipes.objectives.preference.losses.streams import LossError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["changed_tokens", "segment_weights", "tail_weights", "weighted_log_probs"]

MIN_MATCH = 3
"""Shortest run of equal tokens that counts as unchanged."""


def changed_tokens(
    chosen: Sequence[int], rejected: Sequence[int], min_match: int = MIN_MATCH
) -> tuple[list[int], list[int]]:
    """The positions of tokens in segments that one answer has instead of the other's.

    As in the released code, a segment that only one of the two answers has is not counted, and a common start of any
    length counts as unchanged, because it continues the equal prompt.

    Args:
        chosen: token ids of the chosen answer, with its end token.
        rejected: token ids of the rejected answer.
        min_match: shortest run of equal tokens that counts as unchanged.

    Returns:
        Positions in the chosen and in the rejected answer, in ascending order.

    Example:
        >>> changed_tokens([5, 6, 7, 1, 2, 3], [5, 8, 1, 2, 3])
        ([1, 2], [1])
    """
    start = next(
        (place for place, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b),
        min(len(chosen), len(rejected)),
    )
    # Without autojunk: difflib would ignore frequent tokens from the 200th token on.
    blocks = SequenceMatcher(None, chosen[start:], rejected[start:], autojunk=False).get_matching_blocks()
    *matches, end = blocks
    here, there = start, start
    changed: tuple[list[int], list[int]] = ([], [])
    for match in (*(match for match in matches if match.size >= min_match), end):
        spans = range(here, start + match.a), range(there, start + match.b)
        if all(map(len, spans)):
            for positions, span in zip(changed, spans, strict=True):
                positions.extend(span)
        here, there = start + match.a + match.size, start + match.b + match.size
    return changed


def segment_weights(
    chosen: Sequence[int], rejected: Sequence[int], weight: float = 3.0, min_match: int = MIN_MATCH
) -> tuple[list[float], list[float]]:
    """DDPO's token weights.

    Args:
        chosen: token ids of the chosen answer, with its end token.
        rejected: token ids of the rejected answer.
        weight: the weight of changed tokens, above 0; 3 in the released code, 5 in the paper. Others have 1.
        min_match: see :func:`changed_tokens`.

    Returns:
        The weights of the chosen and of the rejected answer's tokens.

    Raises:
        LossError: the weight is not above 0.

    Example:
        >>> segment_weights([5, 6, 7, 1, 2, 3], [5, 8, 1, 2, 3])
        ([1.0, 3.0, 3.0, 1.0, 1.0, 1.0], [1.0, 3.0, 1.0, 1.0, 1.0])
    """
    if not weight > 0:
        raise LossError(f"segment weight: expected a number above 0, got {weight}")
    weights = [1.0] * len(chosen), [1.0] * len(rejected)
    for values, positions in zip(weights, changed_tokens(chosen, rejected, min_match), strict=True):
        for position in positions:
            values[position] = float(weight)
    return weights


def tail_weights(mask: Tensor, other_mask: Tensor, alpha: float) -> Tensor:
    """LD-DPO's token weights: 1 up to the length of the shorter answer of the pair, alpha beyond it.

    Args:
        mask: ``[B, T]`` bool, the answer tokens of one side.
        other_mask: ``[B, T']`` bool, those of the other side.
        alpha: from 0 (ignore the tail) to 1 (plain sums).

    Returns:
        ``[B, T]`` float32, 0 outside the answer.

    Raises:
        LossError: alpha is not between 0 and 1.

    Example:
        >>> import torch
        >>> long, short = torch.tensor([[0, 1, 1, 1, 1]]).bool(), torch.tensor([[0, 1, 1]]).bool()
        >>> tail_weights(long, short, 0.25).tolist(), tail_weights(short, long, 0.25).tolist()
        ([[0.0, 1.0, 1.0, 0.25, 0.25]], [[0.0, 1.0, 1.0]])
    """
    if not 0 <= alpha <= 1:
        raise LossError(f"ld_alpha: expected a number from 0 to 1, got {alpha}")
    shared = mask.sum(dim=1).minimum(other_mask.sum(dim=1))
    tail = mask.cumsum(dim=1) > shared[:, None]
    weights = mask.float()
    return weights.where(~tail, alpha * weights)


def weighted_log_probs(log_probs: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """``Σ weight · log p`` and ``Σ weight`` of each answer.

    Args:
        log_probs: ``[B, T]``, log-probability of each token; any value where the weight is 0.
        weights: ``[B, T]``, 0 outside the answer.

    Returns:
        The sums ``[B]`` for ``chosen`` and ``rejected`` of :class:`PairLogProbs`, and the totals ``[B]`` for
        ``chosen_tokens`` and ``rejected_tokens``, by which RLHF-V's averages are divided.

    Example:
        >>> import torch
        >>> weighted_log_probs(torch.tensor([[-1.0, -2.0, -torch.inf]]), torch.tensor([[1.0, 3.0, 0.0]]))
        (tensor([-7.]), tensor([4.]))
    """
    inside = log_probs.masked_fill(weights == 0, 0.0)
    return (inside * weights).sum(dim=1), weights.sum(dim=1)
