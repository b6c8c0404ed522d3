"""The metric of a set of questions: the one that is named, or the one that fits the questions."""

from __future__ import annotations

from collections.abc import Sequence

from inlay.recipes.data.rows.sample import Question
from inlay.recipes.evaluation.metric_registry import AUTO, METRICS, AnswerMetric, check_metric_name
from inlay.recipes.evaluation.metrics.builtin import METRICS as BUILT_INS

__all__ = ["choose_metric"]


def choose_metric(wanted: str, questions: Sequence[Question], candidates: Sequence[str] = ()) -> AnswerMetric | None:
    """The metric that is named, or that fits the questions.

    Args:
        wanted: a name, ``auto`` or ``none``.
        questions: with their references.
        candidates: answers that the model ranks, if it does not write its own.

    Returns:
        None for ``none``, and where no metric fits: free text.

    Raises:
        MetricError: no metric has this name, or it cannot score one of the questions.
    """
    check_metric_name(wanted)
    found = METRICS.get(wanted) or BUILT_INS.get(wanted)
    if found is not None:
        found.check(questions, candidates)
    if wanted != AUTO or not questions:
        return found
    asked = (*reversed(METRICS.values()), *BUILT_INS.values())
    return next((metric for metric in asked if metric.fits(questions, candidates)), None)
