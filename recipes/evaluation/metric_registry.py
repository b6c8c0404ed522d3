"""Metrics of written answers by name, and the one that fits a set of questions.

``register_metric("contains", score=contains, title="answers that contain the reference")`` adds one. In training's
validation, in its table at the end and in ``inlay evaluate`` the same function chooses. Nothing heavy is imported
here, so a wrong name is found at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from inlay.adapters.parts.registration import same_definition
from inlay.recipes.evaluation.errors import MetricError

if TYPE_CHECKING:
    from inlay.recipes.data.rows.sample import Question

__all__ = [
    "AUTO",
    "METRICS",
    "NONE",
    "OVERALL",
    "AnswerMetric",
    "check_metric_name",
    "mean_of",
    "metric_names",
    "no_problem",
    "register_metric",
]

AUTO, NONE = "auto", "none"
OVERALL = "overall"
"""The figure of a metric that is a mean over questions."""
BUILT_IN = ("vqa", "exact", "captions", "pope", "choice")

Score: TypeAlias = "Callable[[str, Question], float]"
Figures: TypeAlias = "Callable[[Sequence[str], Sequence[Question]], dict[str, float]]"
Fits: TypeAlias = "Callable[[Sequence[Question], Sequence[str]], bool]"
Problem: TypeAlias = "Callable[[Question, Sequence[str]], str]"


@dataclass(frozen=True, kw_only=True)
class AnswerMetric:
    """A metric of written answers; see :func:`register_metric`."""

    name: str
    title: str
    main: str
    """The figure that stands for the metric where there is room for one."""
    tokens: int
    """Tokens of an answer, where the references are not longer."""
    per_answer: bool
    """Whether the metric is the mean of a score of each answer, which can be shown by type of question."""
    compute: Figures
    fits: Fits
    problem: Problem
    given: Score | Figures | None = None
    """The function that was registered; None for the built-in ones."""

    def check(self, questions: Sequence[Question], candidates: Sequence[str] = ()) -> None:
        """Check that every question can be scored, before any is answered.

        Raises:
            MetricError: names the first question that cannot.
        """
        for question in questions:
            if told := self.problem(question, candidates):
                raise MetricError(f"metric {self.name}: {told}, in {question.prompt[-1].text!r}")


METRICS: dict[str, AnswerMetric] = {}
"""Name -> metric of a user; the built-in ones are in :mod:`inlay.recipes.evaluation.metrics.builtin`."""


def _never(questions: Sequence[Question], candidates: Sequence[str]) -> bool:
    return False


def no_problem(question: Question, candidates: Sequence[str]) -> str:
    """Every question can be scored."""
    return ""


def register_metric(
    name: str,
    *,
    score: Score | None = None,
    figures: Figures | None = None,
    title: str = "",
    main: str = OVERALL,
    tokens: int = 16,
    fits: Fits = _never,
    problem: Problem = no_problem,
) -> None:
    """Add a metric, which ``--metric NAME`` then names; the same function again replaces itself, as in a notebook.

    Args:
        name: letters, digits and underscores.
        score: one answer and its question -> 0..1; the metric is the mean, over all and by type of question.
        figures: instead of ``score``, all answers and their questions -> figures by name, 0..1.
        title: in front of the table; the name if not given.
        main: the figure that stands for the metric, of ``figures``.
        tokens: of an answer, where the references are not longer.
        fits: whether ``auto`` takes this metric for questions, and the answers to rank if there are any; metrics
            that were registered later are asked first, the built-in ones last. Without it only the name chooses it.
        problem: why a question cannot be scored; empty if it can.

    Raises:
        MetricError: no name, a name of ours or of another metric, neither or both of ``score`` and ``figures``, tokens
            below 1.
    """
    if not name.isidentifier() or name in (AUTO, *BUILT_IN, NONE):
        taken = ", ".join((AUTO, *BUILT_IN, NONE))
        raise MetricError(f"metric: expected letters, digits and underscores, and none of {taken}; got {name!r}")
    compute = mean_of(score) if score is not None else figures
    if compute is None or (score is not None and figures is not None):
        raise MetricError(f"metric {name}: expected either score or figures")
    if tokens < 1:
        raise MetricError(f"metric {name}: tokens: expected at least 1, got {tokens}")
    held = METRICS.pop(name, None)  # a metric that replaces another is asked first again
    if held is not None and not same_definition(held.given, score or figures):
        METRICS[name] = held
        raise MetricError(f"metric {name}: another metric has this name; choose another name")
    METRICS[name] = AnswerMetric(
        name=name,
        title=title or name,
        main=main,
        tokens=tokens,
        per_answer=score is not None,
        compute=compute,
        given=score or figures,
        fits=fits,
        problem=problem,
    )


def mean_of(score: Score) -> Figures:
    """The mean of a score over all questions, as a figure."""

    def compute(said: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
        scores = [score(text, question) for text, question in zip(said, questions, strict=True)]
        return {OVERALL: sum(scores) / len(scores)}

    return compute


def metric_names() -> list[str]:
    """The names that ``--metric`` takes."""
    return [AUTO, *sorted({*BUILT_IN, *METRICS}), NONE]


def check_metric_name(name: str) -> None:
    """Check the name alone, before models and data are loaded.

    Raises:
        MetricError: no metric has this name.
    """
    if name not in metric_names():
        raise MetricError(f"metric: expected one of {', '.join(metric_names())}, got {name!r}")
