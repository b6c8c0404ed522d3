"""Batches of samples of similar length, for less padding.

Samples are padded to the longest one of their batch: with the miniature's dialogues, 27 % of all positions were padding
in random batches and 5 % in sorted ones. Only *windows* of consecutive batches are sorted, and their batches are
shuffled again, so every epoch still has each sample once, with short and long batches throughout. The order stays a
pure function of seed and step.

Training is faster but may give a worse model: if length depends on content, each batch has one kind of sample only. So
it is not the default; the page "Decisions: training" of the documentation has the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from inlay.adapters.conversation.messages import MediaPart, Message, media_of
from inlay.recipes.data.rows.sample import Sample, conversations_of
from inlay.recipes.data.rows.tables.facts import MODALITIES
from inlay.recipes.data.rows.tables.samples import Samples
from inlay.recipes.data.rows.tables.sequences import Chosen, Joined

__all__ = ["WINDOW", "ByLength", "lengths_of"]

_MEDIUM = 100
"""Characters that a medium counts as."""
WINDOW = 16
"""Batches (of an optimizer step each) that are sorted together."""


class ByLength(Sampler[list[int]]):
    """Index batches of another order, sorted within windows.

    Args:
        order: first batch -> the unsorted batches from that one on.
        lengths: length of each sample, in any unit that grows with the number of tokens.
        batches: batches of the whole stage.
        seed: seed of the order of batches in a window.
        start: batches already done.

    Example:
        >>> lengths = [5, 1, 4, 2]
        >>> sorted(ByLength(lambda start: [[0, 1], [2, 3]][start:], lengths, 2, seed=0))
        [[1, 3], [2, 0]]
    """

    def __init__(
        self,
        order: Callable[[int], Iterable[list[int]]],
        lengths: Sequence[int] | NDArray[np.int64],
        batches: int,
        seed: int,
        start: int = 0,
    ) -> None:
        self.order, self.lengths, self.batches = order, lengths, batches
        self.seed, self.start = seed, start

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        first = self.start // WINDOW * WINDOW  # a window is always sorted as a whole, also by a resumed run
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


def lengths_of(samples: Sequence[Sample], medium: Callable[[MediaPart], int] | None = None) -> NDArray[np.int64]:
    """Characters of each conversation and of its media, an estimate for sorting; of preference data, of the longer one.

    Args:
        samples: the conversations.
        medium: how many characters a medium counts as, if media are not equally long; this reads every row. Otherwise
            each counts as 100, and lengths of files are known from their check.
    """
    if isinstance(samples, Samples) and medium is None:
        return samples.column("characters") + _MEDIUM * sum(samples.column(f"input_{kind}") for kind in MODALITIES)
    if isinstance(samples, Joined):
        return np.concatenate([lengths_of(part, medium) for part in samples.parts])
    if isinstance(samples, Chosen) and medium is None:
        return lengths_of(samples.samples)[samples.places]
    each = medium or (lambda _: _MEDIUM)

    def length(messages: Sequence[Message]) -> int:
        return sum(len(message.text) for message in messages) + sum(map(each, media_of(messages)))

    return np.fromiter((max(map(length, conversations_of(row))) for row in samples), np.int64, len(samples))
