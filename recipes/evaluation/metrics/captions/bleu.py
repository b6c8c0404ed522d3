"""BLEU-1 to BLEU-4 of captions as COCO evaluates them (Papineni et al., 2002, https://aclanthology.org/P02-1040).

Counts are summed over all pictures first. With c_n clipped matches among g_n n-grams of the predictions, each clipped
at its largest count in any reference::

    BLEU-N = min(1, exp(1 - r / c)) * (p_1 * ... * p_N) ^ (1 / N)      p_n = (c_n + 1e-15) / (g_n + 1e-9)

c is the length of all predictions, r the sum of the closest reference lengths (the shorter of two equally close ones).
The two small numbers avoid a division by zero; there is no other smoothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from inlay.recipes.evaluation.metrics.captions.ngrams import ORDERS, Grams, grams, tokenised

__all__ = ["Bleu", "BleuCounts", "bleu", "bleu_counts"]

_SMALL, _TINY = 1e-9, 1e-15


class BleuCounts(NamedTuple):
    """Sufficient statistics of BLEU, which are summed over pictures."""

    matches: list[int]
    """Clipped matches, by n."""
    guesses: list[int]
    """N-grams of the prediction, by n."""
    length: int
    """Words of the prediction."""
    closest: int
    """Words of the reference whose length is closest."""


def bleu_counts(prediction: Sequence[str], references: Sequence[Sequence[str]]) -> BleuCounts:
    """Counts of one picture.

    Args:
        prediction: words.
        references: words of each reference.

    Example:
        >>> bleu_counts("the the cat".split(), ["the cat sat".split()])
        BleuCounts(matches=[2, 1, 0, 0], guesses=[3, 2, 1, 0], length=3, closest=3)
    """
    most = Grams()
    for reference in references:
        most |= grams(reference)
    matches = [0] * ORDERS
    for gram, count in (grams(prediction) & most).items():
        matches[len(gram) - 1] += count
    length = len(prediction)
    guesses = [max(0, length - order) for order in range(ORDERS)]
    return BleuCounts(matches, guesses, length, min((abs(len(r) - length), len(r)) for r in references)[1])


def bleu(counts: BleuCounts) -> list[float]:
    """BLEU-1 to BLEU-4, each 0..1, from counts summed over a corpus.

    Example:
        >>> [round(score, 3) for score in bleu(BleuCounts([4, 2, 1, 0], [4, 3, 2, 1], 4, 5))]
        [0.779, 0.636, 0.54, 0.0]
    """
    scores, product = [], 1.0
    for order, (matches, guesses) in enumerate(zip(counts.matches, counts.guesses, strict=True), start=1):
        product *= (matches + _TINY) / (guesses + _SMALL)
        scores.append(product ** (1 / order))
    ratio = (counts.length + _TINY) / (counts.closest + _SMALL)
    # For an empty corpus the ratio is near 0, and exp would overflow.
    brevity = math.exp(max(-700.0, 1 - 1 / ratio)) if ratio < 1 else 1.0
    return [score * brevity for score in scores]


class Bleu(Metric):
    """Corpus BLEU-1 to BLEU-4 of captions, 0..1.

    Example:
        >>> metric = Bleu()
        >>> metric.update(["a red disc on a table"], [["A red disc on the table.", "a disc"]])
        >>> {name: round(value.item(), 3) for name, value in metric.compute().items()}
        {'bleu_1': 0.833, 'bleu_2': 0.707, 'bleu_3': 0.63, 'bleu_4': 0.537}
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    matches: Tensor
    guesses: Tensor
    lengths: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("matches", torch.zeros(ORDERS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("guesses", torch.zeros(ORDERS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("lengths", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Add pictures.

        Args:
            predictions: one caption a picture.
            references: human captions, at least one text a picture.

        Raises:
            MetricError: the numbers differ, or a picture has no reference.
        """
        for said, truths in zip(*tokenised(predictions, references), strict=True):
            counts = bleu_counts(said, truths)
            self.matches = self.matches + self.matches.new_tensor(counts.matches)
            self.guesses = self.guesses + self.guesses.new_tensor(counts.guesses)
            self.lengths = self.lengths + self.lengths.new_tensor([counts.length, counts.closest])

    def compute(self) -> dict[str, Tensor]:
        """``bleu_1`` to ``bleu_4`` as float64; nan before the first update."""
        length, closest = self.lengths.tolist()
        scores = bleu(BleuCounts(self.matches.tolist(), self.guesses.tolist(), length, closest))
        if not closest and not length:
            scores = [math.nan] * ORDERS
        return {
            f"bleu_{order}": torch.tensor(score, dtype=torch.float64) for order, score in enumerate(scores, start=1)
        }
