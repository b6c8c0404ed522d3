"""Exact match: the prediction equals a right answer, except for case, spaces and punctuation at the ends."""

from __future__ import annotations

from collections.abc import Sequence

from inlay.recipes.evaluation.errors import MetricError
from inlay.recipes.evaluation.metrics.score import MeanScore

__all__ = ["ExactMatch", "exact_match"]

_ENDS = " .,;:!?\"'`()[]{}"


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 if the prediction equals any of the answers, else 0.

    Both sides are case-folded, runs of white space become one space, and punctuation and brackets at the ends are
    removed; inner punctuation is kept, so that ``3.5`` is not ``35``.

    Raises:
        MetricError: no answers.

    Example:
        >>> exact_match("Red.", ["red"]), exact_match("3.5", ["35"]), exact_match("a red disc", ["red disc"])
        (1.0, 0.0, 0.0)
    """
    if not answers:
        raise MetricError("expected at least one right answer, got none")
    return float(_plain(prediction) in {_plain(answer) for answer in answers})


def _plain(answer: str) -> str:
    return " ".join(answer.casefold().split()).strip(_ENDS)


class ExactMatch(MeanScore):
    """Mean exact match, overall and by kind of question.

    Example:
        >>> metric = ExactMatch()
        >>> metric.update(["Red.", "blue"], [["red"], ["green"]])
        >>> metric.compute()["overall"].item()
        0.5
    """

    score = staticmethod(exact_match)
