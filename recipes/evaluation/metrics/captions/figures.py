"""Figures of captions and of yes-no answers, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inlay.recipes.evaluation.metrics.captions.bleu import Bleu
from inlay.recipes.evaluation.metrics.captions.cider import Cider
from inlay.recipes.evaluation.metrics.captions.rouge_l import RougeL
from inlay.recipes.evaluation.metrics.pope import Pope

__all__ = ["caption_figures", "pope_figures"]


def caption_figures(said: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU-1 to 4, CIDEr-D and ROUGE-L of captions.

    Args:
        said: one caption a picture.
        references: human captions, at least one text a picture.

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
