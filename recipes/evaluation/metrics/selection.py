"""The choice of a metric, by name or by the questions."""

from __future__ import annotations

from collections.abc import Sequence

from inlay.recipes.data.rows.sample import Question
from inlay.recipes.evaluation.metric_registry import AUTO, METRICS, AnswerMetric, check_metric_name
from inlay.recipes.evaluation.metrics.builtin import METRICS as BUILT_INS

__all__ = ["choose_metric"]


def choose_metric(wanted: str, questions: Sequence[Question], candidates: Sequence[str] = ()) -> AnswerMetric | None:
    """The metric with this name, or one that fits the questions.

    Args:
        wanted: a name, ``auto`` or ``none``.
        questions: questions with references.
        candidates: answers for the model to rank, if any.

    Returns:
        The metric; None for ``none``, and if no metric fits (free text).

    Raises:
        MetricError: unknown metric, or one that cannot score a question.
    """
    check_metric_name(wanted)
    found = METRICS.get(wanted) or BUILT_INS.get(wanted)
    if found is not None:
        found.check(questions, candidates)
    if wanted != AUTO or not questions:
        return found
    asked = (*reversed(METRICS.values()), *BUILT_INS.values())
    return next((metric for metric in asked if metric.fits(questions, candidates)), None)
