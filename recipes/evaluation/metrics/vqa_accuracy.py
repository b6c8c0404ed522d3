"""VQA accuracy (Antol et al., 2015, https://arxiv.org/abs/1505.00468).

Each human answer is left out once; the prediction then scores min(1, matches among the others / 3); the accuracy is the
mean. So 3 matches of 10 give 0.9, not 1.

Prediction and answers are always normalised. The official code (https://github.com/GT-Vision-Lab/VQA) does the same if
the human answers differ. If they all agree, it normalises neither side since a013f004, so that "red." scores 0 against
ten times "red"; until 458a8b26 it normalised only the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence

from inlay.recipes.evaluation.errors import MetricError
from inlay.recipes.evaluation.metrics.normalize import normalize_answer
from inlay.recipes.evaluation.metrics.score import MeanScore

__all__ = ["VQAAccuracy", "vqa_accuracy"]

_ENOUGH = 3


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """The accuracy of one prediction.

    Args:
        prediction: the model's answer.
        answers: human answers, ten in VQA v2. With two or three answers even full agreement gives only 1/3 or 2/3; with
            a single answer the accuracy is 0 or 1.

    Returns:
        0..1.

    Raises:
        MetricError: no answers.

    Example:
        >>> vqa_accuracy("two", ["2"] * 3 + ["3"] * 7)
        0.9
        >>> vqa_accuracy("Two.", ["two"] * 10)
        1.0
    """
    if not answers:
        raise MetricError("expected at least one human answer, got none")
    truths = [normalize_answer(answer) for answer in answers]
    matches, people = truths.count(normalize_answer(prediction)), len(truths)
    if people == 1:
        return float(matches)
    # Without a matching answer, matches - 1 remain; without another one, all matches remain. Integers sum exactly.
    total = matches * min(_ENOUGH, matches - 1) + (people - matches) * min(_ENOUGH, matches)
    return total / (_ENOUGH * people)


class VQAAccuracy(MeanScore):
    """Mean VQA accuracy, overall and by kind of question.

    Example:
        >>> metric = VQAAccuracy(kinds=["colour", "count"])
        >>> metric.update(["red", "2"], [["red"] * 10, ["two"] * 3 + ["three"] * 7], ["colour", "count"])
        >>> {kind: round(value.item(), 2) for kind, value in metric.compute().items()}
        {'overall': 0.95, 'colour': 1.0, 'count': 0.9}
    """

    score = staticmethod(vqa_accuracy)
