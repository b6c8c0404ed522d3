"""The grammar of signal tokens: a medium is requested by all of its tokens in order, or not at all.

A model is trained to generate ``[IMG1]`` after ``[IMG0]``, but its logits do not guarantee it. During generation the
first token of a group forces the others, and a later token cannot be generated alone; so every group has all its hidden
states.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from transformers import LogitsProcessor

from inlay.adapters.llm_parts.signal_tokens import Signals
from inlay.adapters.media.modality import Modality

__all__ = ["SignalGrammar", "completed", "split"]


class SignalGrammar(LogitsProcessor):
    """Restricts generation to whole groups of signal tokens.

    Args:
        signals: the signal tokens of the attached adapter.
    """

    def __init__(self, signals: Signals) -> None:
        pairs = [pair for own in signals.ids.values() for pair in pairwise(own)]
        self.before = torch.tensor([first for first, _ in pairs], dtype=torch.long)
        self.after = torch.tensor([second for _, second in pairs], dtype=torch.long)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Restrict the logits ``[B, vocabulary]`` of the next token after ids ``[B, T]``."""
        before, after = self.before.to(scores.device), self.after.to(scores.device)
        allowed = scores.index_fill(-1, after, float("-inf"))
        if not input_ids.shape[1] or not len(before):
            return allowed
        hits = input_ids[:, -1:] == before
        certain = torch.full_like(scores, float("-inf"))
        certain.scatter_(-1, after[hits.to(torch.uint8).argmax(dim=-1, keepdim=True)], 0.0)
        return torch.where(hits.any(dim=-1, keepdim=True), certain, allowed)


def completed(ids: Sequence[int], signals: Signals) -> list[int]:
    """Complete the last group of a row, if the limit on new tokens has cut it off.

    Example:
        >>> completed([5, 7], Signals(ids={"image": (7, 8, 9)}))
        [5, 7, 8, 9]
    """
    for own in signals.ids.values():
        if ids and ids[-1] in own:
            return [*ids, *own[own.index(ids[-1]) + 1 :]]
    return list(ids)


def split(ids: Sequence[int], signals: Signals) -> list[list[int] | Modality]:
    """Split a row into runs of text ids and the modalities of the media between them.

    Example:
        >>> split([5, 7, 8, 6, 7, 8], Signals(ids={"image": (7, 8)}))
        [[5], 'image', [6], 'image']
    """
    first = {own[0]: modality for modality, own in signals.ids.items()}
    every = {token for own in signals.ids.values() for token in own}
    runs: list[list[int] | Modality] = []
    for token in ids:
        if token in first:
            runs.append(first[token])
        elif token not in every:
            if not runs or not isinstance(runs[-1], list):
                runs.append([])
            run = runs[-1]
            if isinstance(run, list):
                run.append(token)
    return runs
