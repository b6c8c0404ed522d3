"""The registry of answer metrics.

``register_metric("contains", score=contains, title="answers that contain the reference")`` adds one. Validation, the
final table of a run and ``inlay evaluate`` use the same metrics. Imports nothing heavy, so that a wrong name is
reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from inlay.adapters.parts.registration import IMPORT_OWN, check_function, same_definition
from inlay.recipes.evaluation.errors import MetricError
from inlay.recipes.settings.user_functions import calling, guarded, real_number

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
"""Name of the figure of a metric that is a mean over questions."""
BUILT_IN = ("vqa", "exact", "captions", "pope", "choice")

Score: TypeAlias = "Callable[[str, Question], float]"
Figures: TypeAlias = "Callable[[Sequence[str], Sequence[Question]], dict[str, float]]"
Fits: TypeAlias = "Callable[[Sequence[Question], Sequence[str]], bool]"
Problem: TypeAlias = "Callable[[Question, Sequence[str]], str]"


@dataclass(frozen=True, kw_only=True)
class AnswerMetric:
    """A metric of generated answers; see :func:`register_metric`."""

    name: str
    title: str
    main: str
    """The figure that is shown if there is room for only one."""
    tokens: int
    """Maximum tokens of an answer, unless the references are longer."""
    per_answer: bool
    """Whether the metric is the mean of a score per answer, and is also shown by type of question."""
    compute: Figures
    fits: Fits
    problem: Problem
    given: Score | Figures | None = None
    """The registered function; None for built-in metrics."""

    def check(self, questions: Sequence[Question], candidates: Sequence[str] = ()) -> None:
        """Check that every question can be scored, before answering them.

        Raises:
            MetricError: names the first question that cannot be scored.
        """
        for question in questions:
            if told := self.problem(question, candidates):
                raise MetricError(f"metric {self.name}: {told}, in {question.prompt[-1].text!r}")


METRICS: dict[str, AnswerMetric] = {}
"""Name -> registered metric; built-in ones are in :mod:`inlay.recipes.evaluation.metrics.builtin`."""


def _never(questions: Sequence[Question], candidates: Sequence[str]) -> bool:
    return False


def no_problem(question: Question, candidates: Sequence[str]) -> str:
    """The default ``problem``: every question can be scored."""
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
    """Register a metric for ``--metric NAME``; registering the same function again is allowed.

    Args:
        name: letters, digits and underscores.
        score: ``(answer, question)`` -> 0..1; the metric is the mean, overall and by type of question.
        figures: instead of ``score``: ``(answers, questions)`` -> figures by name, 0..1.
        title: title of the table; the name if not given.
        main: with ``figures``, the main figure.
        tokens: maximum tokens of an answer, unless the references are longer.
        fits: ``(questions, candidates)`` -> whether ``auto`` chooses this metric; later registered metrics are tried
            first, built-in ones last. By default ``auto`` never chooses it.
        problem: ``(question, candidates)`` -> the reason why a question cannot be scored; empty if it can.

    Raises:
        RegistrationError: a function that takes other arguments.
        MetricError: invalid or used name, neither or both of ``score`` and ``figures``, or tokens below 1.
    """
    if not name.isidentifier() or name in (AUTO, *BUILT_IN, NONE):
        taken = ", ".join((AUTO, *BUILT_IN, NONE))
        raise MetricError(f"metric: expected letters, digits and underscores, and none of {taken}; got {name!r}")
    compute = _own_mean(name, score) if score is not None else figures and _own_figures(name, figures, main)
    if compute is None or (score is not None and figures is not None):
        raise MetricError(f"metric {name}: expected either score or figures")
    asked = ("answer", "question") if score is not None else ("answers", "questions")
    check_function(f"metric {name}: {'figures' if score is None else 'score'}", score or figures, *asked)
    check_function(f"metric {name}: fits", fits, "questions", "candidates")
    check_function(f"metric {name}: problem", problem, "question", "candidates")
    if tokens < 1:
        raise MetricError(f"metric {name}: tokens: expected at least 1, got {tokens}")
    held = METRICS.pop(name, None)  # `auto` tries a re-registered metric first
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
        fits=guarded(f"metric {name}", fits),
        problem=guarded(f"metric {name}", problem, _row),
    )


def mean_of(score: Score) -> Figures:
    """Figures with the mean of a score over all questions."""

    def compute(said: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
        scores = [score(text, question) for text, question in zip(said, questions, strict=True)]
        return {OVERALL: sum(scores) / len(scores)}

    return compute


def _own_mean(name: str, score: Score) -> Figures:
    """As :func:`mean_of`, for a function of the user's own."""

    def compute(said: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
        scores, what = [], f"metric {name}"
        for number, (text, question) in enumerate(zip(said, questions, strict=True), 1):
            row = f"answer {text!r} to {_row(question)}, number {number} of the questions"
            with calling(what, score, row, kind=MetricError):
                value: Any = score(text, question)
            scores.append(real_number(value, what, score, row, kind=MetricError))
        return {OVERALL: sum(scores) / len(scores)}

    return compute


def _own_figures(name: str, figures: Figures, main: str) -> Figures:
    """The figures of a function of the user's own, checked."""

    def compute(said: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
        what, rows = f"metric {name}", f"{len(said)} answers"
        with calling(what, figures, rows, kind=MetricError):
            found: Any = figures(said, questions)
        if not isinstance(found, Mapping) or main not in found:
            raise MetricError(
                f"{what}: expected figures by name from {figures.__name__}, with {main!r} (main=...), got {found!r}"
            )
        return {str(key): real_number(value, what, figures, rows, kind=MetricError) for key, value in found.items()}

    return compute


def _row(question: Question, *_: Any) -> str:
    return f"the question {question.prompt[-1].text!r}" if question.prompt else "a question"


def metric_names() -> list[str]:
    """The values of ``--metric``."""
    return [AUTO, *sorted({*BUILT_IN, *METRICS}), NONE]


def check_metric_name(name: str) -> None:
    """Check a name before models and data are loaded.

    Raises:
        MetricError: unknown metric.
    """
    if name not in metric_names():
        raise MetricError(f"metric: expected one of {', '.join(metric_names())}, got {name!r}; {IMPORT_OWN}")
