"""Batches of samples of like length, so that little is padded.

A random batch is as long as its longest sample: of the miniature's dialogues 27 % of all positions were padding, of
sorted ones 5 %. Only *windows* of consecutive batches are sorted, and their batches are shuffled again, so every epoch
still shows each sample once and no stretch of the training is all short or all long. What comes when stays a pure
function of seed and step.

It is faster and may teach less: where length goes with content, each batch holds one kind of sample only. So it is not
the default; docs/decisions.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch.utils.data import Sampler

from inlay.adapters.conversation.messages import media_of
from inlay.recipes.data.rows.sample import Sample

__all__ = ["WINDOW", "ByLength", "lengths_of"]

WINDOW = 16
"""Batches (of an optimizer step each) that are sorted together."""


class ByLength(Sampler[list[int]]):
    """Index batches of another order, sorted within windows.

    Args:
        order: first batch -> batches from that one on; what is sorted.
        lengths: of each sample, in any unit that grows with the number of tokens.
        batches: batches of the whole stage.
        seed: of the order of batches in a window.
        start: batches already done.

    Example:
        >>> lengths = [5, 1, 4, 2]
        >>> sorted(ByLength(lambda start: [[0, 1], [2, 3]][start:], lengths, 2, seed=0))
        [[1, 3], [2, 0]]
    """

    def __init__(
        self,
        order: Callable[[int], Iterable[list[int]]],
        lengths: Sequence[int],
        batches: int,
        seed: int,
        start: int = 0,
    ) -> None:
        self.order, self.lengths, self.batches = order, lengths, batches
        self.seed, self.start = seed, start

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        first = self.start // WINDOW * WINDOW  # a window is sorted whole, wherever a run was interrupted in it
        inner = iter(self.order(first))
        for window in range(first, self.batches, WINDOW):
            taken = [next(inner) for _ in range(min(WINDOW, self.batches - window))]
            yield from self._sorted(taken, window)[max(0, self.start - window) :]

    def _sorted(self, taken: list[list[int]], window: int) -> list[list[int]]:
        size = len(taken[0])
        indices = sorted((index for batch in taken for index in batch), key=lambda index: self.lengths[index])
        batches = [indices[place : place + size] for place in range(0, len(indices), size)]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + window)
        return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def lengths_of(samples: Sequence[Sample]) -> list[int]:
    """Characters of each conversation, a medium counted as a hundred: near enough to sort by."""
    return [
        sum(len(message.text) for message in sample.messages) + 100 * len(media_of(sample.messages))
        for sample in samples
    ]
