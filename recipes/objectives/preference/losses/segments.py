"""Weights for the tokens of an answer: RLHF-V's changed segments (DDPO) and LD-DPO's tail.

Both replace ``Σ log p`` by ``Σ weight · log p`` for policy and reference alike; any loss then takes the weighted sums.

- DDPO (Yu et al., 2024, https://arxiv.org/abs/2312.00849): tokens in which the two answers differ weigh more.
- LD-DPO (Liu et al., 2024, https://arxiv.org/abs/2409.06411): tokens beyond the shorter answer weigh less.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import torch
from torch import Tensor

__all__ = ["changed_tokens", "token_weights"]

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


def token_weights(
    chosen: Tensor, rejected: Tensor, *, segment_weight: float = 1.0, tail: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The weights of a pair's tokens; both kinds of weights are multiplied.

    Args:
        chosen: ``[n]``, token ids of the chosen answer, with its end token.
        rejected: ``[m]``, token ids of the rejected answer.
        segment_weight: DDPO: of the tokens in which the two answers differ; 3 in the released code, 5 in the paper.
        tail: LD-DPO: of the longer answer's tokens beyond the length of the shorter one, from 0 to 1.

    Returns:
        ``[n]`` and ``[m]`` float32.

    Example:
        >>> ids = torch.tensor([5, 6, 7, 1, 2, 3]), torch.tensor([5, 8, 1, 2, 3])
        >>> [weights.tolist() for weights in token_weights(*ids, segment_weight=3.0, tail=0.5)]
        [[1.0, 3.0, 3.0, 1.0, 1.0, 0.5], [1.0, 3.0, 1.0, 1.0, 1.0]]
    """
    both = torch.ones(len(chosen)), torch.ones(len(rejected))
    if segment_weight != 1:
        for weights, positions in zip(both, changed_tokens(chosen.tolist(), rejected.tolist()), strict=True):
            weights[positions] = segment_weight
    for weights in both:
        weights[min(map(len, both)) :] *= tail
    return both
