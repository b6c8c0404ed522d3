"""A metric: the share of the reference's words that occur in the answer.

    inlay evaluate runs/llava --import own_metric.py --metric word_recall

``score`` maps one answer and its question to 0..1; the metric is the mean over all questions, also shown by type of
question and for the same model without media.
"""

from __future__ import annotations

import re

from inlay.recipes import register_metric
from inlay.recipes.data import Question


def words(text: str) -> set[str]:
    """Lower-case words without punctuation."""
    return set(re.findall(r"\w+", text.lower()))


def word_recall(said: str, question: Question) -> float:
    """1 if the answer has every word of the reference."""
    expected = words(question.reference)
    return len(expected & words(said)) / max(1, len(expected))


register_metric("word_recall", score=word_recall, title="words of the reference in the answer, {}, in percent")
