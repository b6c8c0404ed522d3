"""CIDEr-D (Vedantam et al., 2015, https://arxiv.org/abs/1411.5726), as the COCO evaluation computes it.

For each n from 1 to 4 a caption is a vector over n-grams: the count of the n-gram times log(pictures / pictures with
the n-gram in a reference), with a divisor of at least 1. For a prediction h and a reference r::

    sim_n(h, r) = exp(-(l_h - l_r)^2 / (2 * 6^2)) * sum_w min(h_w, r_w) r_w / (|h_n| |r_n|)

The score of a picture is 10 times the mean of sim_n over n and references. The lengths l count *bigrams*, as in the
official code: one less than the words, and 0 for one word or none. The frequencies come from the references of the test
set, so scores of different test sets are not comparable, and a test set of one picture always scores 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from inlay.recipes.evaluation.metrics.captions.ngrams import (
    ORDERS,
    Grams,
    as_bytes,
    check_captions,
    from_bytes,
    grams,
    tokenised,
)

__all__ = ["Cider", "cider"]

_SIGMA = 6.0
_SCALE = 10.0


class _Vector(NamedTuple):
    weights: Mapping[tuple[str, ...], float]
    norms: list[float]
    length: int


def cider(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each picture; the corpus score is the mean.

    Args:
        predictions: one caption a picture.
        references: human captions, at least one text a picture.

    Returns:
        0..10 each.

    Raises:
        MetricError: the numbers differ, or a picture has no reference.

    Example:
        >>> scores = cider(["a red disc on a table", "a cat"], [["A red disc on a table."], ["two dogs play"]])
        >>> [round(score, 3) for score in scores]
        [10.0, 0.0]
    """
    said, truths = tokenised(predictions, references)
    counted = [[grams(words) for words in texts] for texts in truths]
    frequency = Counter(gram for texts in counted for gram in set().union(*texts))
    pictures = math.log(len(predictions)) if predictions else 0.0
    scores = []
    for words, texts in zip(said, counted, strict=True):
        vector = _vector(grams(words), frequency, pictures)
        similar = sum(_similarity(vector, _vector(text, frequency, pictures)) for text in texts)
        scores.append(_SCALE * similar / len(texts))
    return scores


def _vector(counts: Grams, frequency: Mapping[tuple[str, ...], int], pictures: float) -> _Vector:
    weights: dict[tuple[str, ...], float] = {}
    squares = [0.0] * ORDERS
    length = 0
    for gram, count in counts.items():
        weights[gram] = count * (pictures - math.log(max(1, frequency.get(gram, 0))))
        squares[len(gram) - 1] += weights[gram] ** 2
        length += count if len(gram) == 2 else 0
    return _Vector(weights, [math.sqrt(square) for square in squares], length)


def _similarity(said: _Vector, truth: _Vector) -> float:
    """Mean over n of the clipped cosine, with a penalty for a different length."""
    products = [0.0] * ORDERS
    for gram, weight in said.weights.items():
        other = truth.weights.get(gram, 0.0)
        products[len(gram) - 1] += min(weight, other) * other
    cosines = [
        product / (one * other)
        for product, one, other in zip(products, said.norms, truth.norms, strict=True)
        if one and other
    ]
    return sum(cosines) / ORDERS * math.exp(-((said.length - truth.length) ** 2) / (2 * _SIGMA**2))


class Cider(Metric):
    """Mean CIDEr-D over pictures, 0..10 (papers print it times 100, so 1.2 as 120).

    The frequencies need all references, so the texts are stored as bytes until :meth:`compute`.

    Example:
        >>> metric = Cider()
        >>> metric.update(["a red disc on a table"], [["A red disc on a table."]])
        >>> metric.update(["a cat"], [["two dogs play"]])
        >>> round(metric.compute()["cider"].item(), 3)
        5.0
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    texts: Any  # torchmetrics: a list of tensors, one tensor after processes have been joined

    def __init__(self) -> None:
        super().__init__()
        self.add_state("texts", [], dist_reduce_fx="cat")

    def update(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Add pictures, each once and with all its references.

        Args:
            predictions: one caption a picture.
            references: human captions, at least one text a picture.

        Raises:
            MetricError: the numbers differ, or a picture has no reference.
        """
        check_captions(predictions, references)
        if predictions:
            rows = [[said, *truths] for said, truths in zip(predictions, references, strict=True)]
            self.texts.append(as_bytes(rows).to(self.device))

    def compute(self) -> dict[str, Tensor]:
        """``cider`` as float64; nan before the first update."""
        parts = self.texts if isinstance(self.texts, list) else [self.texts]
        rows: list[Any] = from_bytes(torch.cat(parts)) if parts else []
        scores = cider([row[0] for row in rows], [row[1:] for row in rows])
        return {"cider": torch.tensor(scores, dtype=torch.float64).mean()}
