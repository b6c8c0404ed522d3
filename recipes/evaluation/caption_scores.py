"""What captions and yes-no answers are worth: figures by name, and how they are printed beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inlay.recipes.evaluation.metrics.bleu import Bleu
from inlay.recipes.evaluation.metrics.cider import Cider
from inlay.recipes.evaluation.metrics.pope import Pope
from inlay.recipes.evaluation.metrics.rouge_l import RougeL

__all__ = ["aligned", "caption_figures", "figure_table", "pope_figures"]


def caption_figures(said: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU-1 to 4, CIDEr-D and ROUGE-L of captions.

    Args:
        said: one caption a picture.
        references: what people wrote, at least one text a picture.

    Raises:
        MetricError: a picture without a reference.

    Example:
        >>> figures = caption_figures(["a red disc on a table"], [["A red disc on a table."]])
        >>> round(figures["bleu_4"], 2), round(figures["rouge_l"], 2)
        (1.0, 1.0)
    """
    figures: dict[str, Any] = {}
    for metric in (Bleu(), Cider()):
        metric.update(said, references)
        figures |= metric.compute()
    rouge = RougeL()
    rouge.update(said, references)
    figures["rouge_l"] = rouge.compute()["overall"]
    return {name: float(value) for name, value in figures.items()}


def pope_figures(said: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy, precision, recall, F1, the ratio of yes, and the share of unclear answers.

    Raises:
        MetricError: a label that is neither yes nor no.

    Example:
        >>> pope_figures(["Yes.", "no", "yes"], ["yes", "no", "no"])["recall"]
        1.0
    """
    metric = Pope()
    metric.update(said, labels)
    return {name: float(value) for name, value in metric.compute().items()}


def figure_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Figures down, columns across, times 100 as papers print them.

    Example:
        >>> print(figure_table({"adapter": {"cider": 1.21, "bleu_4": 0.4}, "blind": {"cider": 0.1, "bleu_4": 0.05}}))
        figure  adapter  blind
        cider     121.0   10.0
        bleu_4     40.0    5.0
    """
    first = next(iter(columns.values()))
    rows = [("figure", *columns)]
    rows += [(name, *(f"{100 * figures[name]:.1f}" for figures in columns.values())) for name in first]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text: the first column flush left, the others flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
