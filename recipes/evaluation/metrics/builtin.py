"""The built-in metrics with the questions they fit: VQA, exact match, captions, POPE, multiple choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from inlay.recipes.data.rows.sample import Question
from inlay.recipes.evaluation.metric_registry import OVERALL, AnswerMetric, mean_of, no_problem
from inlay.recipes.evaluation.metrics.captions.figures import caption_figures, pope_figures
from inlay.recipes.evaluation.metrics.choice import choice_score, chosen_option, options_of
from inlay.recipes.evaluation.metrics.exact_match import exact_match
from inlay.recipes.evaluation.metrics.vqa_accuracy import vqa_accuracy

__all__ = ["METRICS"]

SHORT = 5
"""Maximum words of a short answer."""
MOST = 0.95
"""Required share of fitting questions; a few exceptions do not change the metric of a file."""


def _most(questions: Sequence[Question], holds: Callable[[Question], bool]) -> bool:
    return sum(map(holds, questions)) >= MOST * len(questions)


def _words(question: Question) -> float:
    """Mean number of words of the references."""
    return sum(len(answer.split()) for answer in question.answers) / len(question.answers)


def _is_short(question: Question) -> bool:
    return 0 < _words(question) <= SHORT


def _asks(question: Question) -> bool:
    return bool(question.prompt[-1].text.strip())


def _label(question: Question) -> str:
    return question.reference.strip().rstrip(".").lower()


def _not_yes_or_no(question: Question, _: Sequence[str]) -> str:
    if _label(question) in ("yes", "no"):
        return ""
    return f"expected the reference yes or no for POPE, got {question.reference!r}"


def _fits_pope(questions: Sequence[Question], candidates: Sequence[str]) -> bool:
    return all(len(set(q.answers)) == 1 and not _not_yes_or_no(q, candidates) for q in questions)


def _no_choice(question: Question, candidates: Sequence[str]) -> str:
    if candidates:
        return "" if exact_match(question.reference, candidates) else _expected(question, "one of the ranked answers")
    options = options_of(question.prompt[-1].text)
    if not options:
        return "expected options such as 'A. red' in the question, or candidates with --rank"
    return "" if chosen_option(question.reference, options) else _expected(question, "one of the options")


def _expected(question: Question, wanted: str) -> str:
    return f"expected {wanted} as the reference, got {question.reference!r}"


def _fits_choice(questions: Sequence[Question], candidates: Sequence[str]) -> bool:
    return all(len(set(q.answers)) == 1 and not _no_choice(q, candidates) for q in questions)


def _choice(said: str, question: Question) -> float:
    return choice_score(said, question.prompt[-1].text, question.reference)


def _by_answer(name: str, title: str, score: Callable[[str, Question], float], **rules: Any) -> AnswerMetric:
    """A metric that is the mean of a score per question, in percent."""
    fields = {"main": OVERALL, "tokens": 16, "problem": no_problem, **rules}
    return AnswerMetric(name=name, title=f"{title}, in percent", per_answer=True, compute=mean_of(score), **fields)


_ALL = (
    AnswerMetric(
        name="pope",
        title="POPE on {}, in percent",
        main="accuracy",
        tokens=16,
        per_answer=False,
        compute=lambda said, questions: pope_figures(said, [_label(question) for question in questions]),
        fits=_fits_pope,
        problem=_not_yes_or_no,
    ),
    _by_answer("choice", "right options on {}", _choice, fits=_fits_choice, problem=_no_choice),
    AnswerMetric(
        name="captions",
        title="captions of {}, times 100",
        main="cider",
        tokens=50,
        per_answer=False,
        compute=lambda said, questions: caption_figures(said, [question.answers for question in questions]),
        fits=lambda questions, _: (
            not any(map(_asks, questions)) or _most(questions, lambda q: len(q.answers) > 1 and _words(q) > SHORT)
        ),
        problem=no_problem,
    ),
    _by_answer(
        "vqa",
        "VQA accuracy on {}",
        lambda said, question: vqa_accuracy(said, question.answers),
        fits=lambda questions, _: _most(questions, lambda q: len(q.answers) > 1 and _is_short(q)),
    ),
    _by_answer(
        "exact",
        "exact match on {}",
        lambda said, question: exact_match(said, question.answers),
        fits=lambda questions, _: _most(questions, _is_short),
    ),
)
METRICS = {metric.name: metric for metric in _ALL}
"""Name -> metric, in the order in which ``auto`` tries them."""
