"""Helpers of the caption metrics: checked batches, n-grams, and texts as tensor states."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from inlay.hub.safety.text import shown
from inlay.recipes.evaluation.errors import MetricError
from inlay.recipes.evaluation.metrics.captions.words import caption_words

__all__ = ["ORDERS", "Grams", "as_bytes", "check_captions", "from_bytes", "grams", "tokenised"]

Grams: TypeAlias = Counter[tuple[str, ...]]

ORDERS = 4
"""Largest n of the n-grams."""


def check_captions(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Check that every prediction is a text and has at least one reference.

    Raises:
        MetricError: different lengths, or an invalid prediction or reference.
    """
    if isinstance(predictions, str) or len(predictions) != len(references):
        raise MetricError(
            f"expected one caption and one list of references for each picture, got {len(predictions)} and "
            f"{len(references)}"
        )
    for place, (said, truths) in enumerate(zip(predictions, references, strict=True)):
        if not isinstance(said, str):
            raise MetricError(f"prediction {place}: expected text, got {shown(said)}")
        if isinstance(truths, str) or not truths or not all(isinstance(truth, str) for truth in truths):
            raise MetricError(f"prediction {place}: expected a list of at least one reference, got {shown(truths)}")


def tokenised(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Words of checked predictions and references."""
    check_captions(predictions, references)
    return (
        [caption_words(said) for said in predictions],
        [[caption_words(truth) for truth in truths] for truths in references],
    )


def grams(words: Sequence[str]) -> Grams:
    """Counts of the n-grams of one to four words.

    Example:
        >>> sorted(" ".join(gram) for gram in grams(["a", "b", "a"]))
        ['a', 'a b', 'a b a', 'b', 'b a']
    """
    return Counter(
        tuple(words[start : start + order]) for order in range(1, ORDERS + 1) for start in range(len(words) - order + 1)
    )


def as_bytes(rows: Iterable[object]) -> Tensor:
    """JSON lines as uint8 ``[bytes]``, which processes can gather and concatenate."""
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


def from_bytes(data: Tensor) -> list[list[object]]:
    """The rows of one or several concatenated results of :func:`as_bytes`.

    Example:
        >>> from_bytes(torch.cat([as_bytes([["a", 1]]), as_bytes([["b", 2]])]))
        [['a', 1], ['b', 2]]
    """
    return [json.loads(line) for line in bytes(data.cpu().tolist()).decode().splitlines()]
