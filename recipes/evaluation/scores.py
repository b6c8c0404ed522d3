"""Scores of answers by one metric, and their table with the columns adapter, blind and oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from inlay.adapters.conversation.messages import media_of
from inlay.recipes.evaluation.answering import Answered
from inlay.recipes.evaluation.metric_registry import AnswerMetric
from inlay.recipes.evaluation.tables import figure_table
from inlay.recipes.terminal.table import aligned

__all__ = ["Column", "Scores", "as_figures", "cut_line", "no_metric_line", "score", "table"]

Column: TypeAlias = Literal["adapter", "blind", "oracle"]


@dataclass(frozen=True)
class Scores:
    """Figures of answers by one metric, 0 to 1."""

    overall: float
    """The metric's main figure."""
    by_type: dict[str, float] = field(default_factory=dict)
    """By type of question; empty unless the metric is a mean over questions."""
    count: dict[str, int] = field(default_factory=dict)
    """Questions of each type."""
    by_modality: dict[str, float] = field(default_factory=dict)
    """By modality of the question; empty if all questions have the same."""
    figures: dict[str, float] = field(default_factory=dict)
    """All figures of a metric that is not a mean over questions."""


def score(metric: AnswerMetric, answered: Sequence[Answered]) -> Scores:
    """Apply a metric: overall, by type and by modality.

    Args:
        metric: result of :func:`~inlay.recipes.evaluation.metrics.selection.choose_metric`.
        answered: at least one.
    """
    figures = _compute(metric, answered)
    if not metric.per_answer:
        return Scores(figures[metric.main], figures=figures)
    kinds = [item.question.kind or "other" for item in answered]
    seen = [next((part.modality for part in media_of(item.question.prompt)), "text") for item in answered]
    by_modality = _by(metric, answered, seen) if len(set(seen)) > 1 else {}
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    return Scores(figures[metric.main], _by(metric, answered, kinds), counts, by_modality)


def _compute(metric: AnswerMetric, answered: Sequence[Answered]) -> dict[str, float]:
    return metric.compute([item.said for item in answered], [item.question for item in answered])


def _by(metric: AnswerMetric, answered: Sequence[Answered], names: Sequence[str]) -> dict[str, float]:
    groups: dict[str, list[Answered]] = {name: [] for name in sorted(set(names))}
    for item, name in zip(answered, names, strict=True):
        groups[name].append(item)
    return {name: _compute(metric, group)[metric.main] for name, group in groups.items()}


def as_figures(scores: Scores) -> dict[str, Any]:
    """Scores as plain values for JSON."""
    if scores.figures:
        return dict(scores.figures)
    return {name: getattr(scores, name) for name in ("overall", "by_type", "count", "by_modality")}


def table(metric: AnswerMetric, columns: Mapping[Column, Scores], data: str) -> str:
    """Title and table, with figures multiplied by 100.

    Args:
        metric: has the title.
        columns: column -> scores.
        data: name of the questions, for the title.
    """
    body = _score_table(columns) if metric.per_answer else figure_table({n: s.figures for n, s in columns.items()})
    return f"{metric.title.format(data)}\n{body}"


def _score_table(columns: Mapping[Column, Scores]) -> str:
    """One row per type of question, and per modality if there are several, in percent."""
    first = next(iter(columns.values()))
    rows = [("type", "questions", *columns)]
    for kind, number in first.count.items():
        rows.append((kind, str(number), *(f"{100 * s.by_type.get(kind, float('nan')):.1f}" for s in columns.values())))
    for modality in first.by_modality:
        shown = (f"{100 * s.by_modality.get(modality, float('nan')):.1f}" for s in columns.values())
        rows.append((f"all of {modality}", "", *shown))
    rows.append(("overall", str(sum(first.count.values())), *(f"{100 * s.overall:.1f}" for s in columns.values())))
    return aligned(rows)


class _Finished(Protocol):
    """An answer with the reason why it ended."""

    @property
    def finish_reason(self) -> str: ...


def cut_line(answered: Sequence[_Finished], limit: int) -> str:
    """A line for the user if answers were cut off; empty otherwise."""
    cut = sum(item.finish_reason == "length" for item in answered)
    if not cut:
        return ""
    return f"{cut} of {len(answered)} answers reached the limit of {limit} tokens; raise it with --max_new_tokens"


def no_metric_line(wanted: str, file: str) -> str:
    """A line for the user if no metric is computed."""
    why = "no metric (--metric none)" if wanted == "none" else "free text: no metric fits; choose one with --metric"
    return f"{why}; the answers are in {file}"
