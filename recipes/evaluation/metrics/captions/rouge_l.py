"""ROUGE-L of captions (Lin, 2004, https://aclanthology.org/W04-1013), as the COCO evaluation computes it.

With L the longest common subsequence of words, P the largest L / (words of the prediction) and R the largest
L / (words of the reference) over the references::

    ROUGE-L = (1 + b^2) P R / (R + b^2 P),     b = 1.2

P and R may come from different references. The corpus score is the mean over pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

from inlay.recipes.evaluation.errors import MetricError
from inlay.recipes.evaluation.metrics.captions.words import caption_words
from inlay.recipes.evaluation.metrics.score import MeanScore

__all__ = ["RougeL", "common_subsequence", "rouge_l"]

_BETA_SQUARED = 1.2**2


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Example:
        >>> common_subsequence("a red disc on top".split(), "a disc lies on it".split())
        3
    """
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = diagonal + 1 if word == other else max(above, row[place - 1])
            diagonal = above
    return row[-1]


def rouge_l(prediction: str, answers: Sequence[str]) -> float:
    """ROUGE-L of one caption.

    Args:
        prediction: the caption.
        answers: human captions, the references.

    Returns:
        0..1; an empty caption scores 0.

    Raises:
        MetricError: no reference.

    Example:
        >>> round(rouge_l("a red disc", ["A red square.", "the disc"]), 4)
        0.6667
    """
    if not answers:
        raise MetricError("expected at least one reference, got none")
    said = caption_words(prediction)
    precision = recall = 0.0
    for answer in answers:
        truth = caption_words(answer)
        if common := common_subsequence(said, truth):
            precision, recall = max(precision, common / len(said)), max(recall, common / len(truth))
    if not precision:
        return 0.0
    return (1 + _BETA_SQUARED) * precision * recall / (recall + _BETA_SQUARED * precision)


class RougeL(MeanScore):
    """Mean ROUGE-L over pictures, overall and by kind.

    Example:
        >>> metric = RougeL()
        >>> metric.update(["a red disc", "a cat"], [["a red disc"], ["dogs"]])
        >>> metric.compute()["overall"].item()
        0.5
    """

    score = staticmethod(rouge_l)
