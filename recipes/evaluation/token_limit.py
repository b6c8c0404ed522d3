"""The limit of new tokens of an answer, from the reference answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inlay.recipes.data.rows.sample import Question
from inlay.recipes.evaluation.metric_registry import AnswerMetric

__all__ = ["FREE_TEXT", "longest_answer", "token_limit"]

FREE_TEXT = 128
"""Minimum limit for free text, which no metric scores."""
MARGIN = 8
"""Margin of tokens above the longest reference, for the end of the turn and other wordings."""
MOST = 1024
_BATCH = 4096


def longest_answer(questions: Sequence[Question], tokenizer: Any) -> int:
    """Tokens of the longest reference answer; 0 without questions."""
    texts = [answer for question in questions for answer in {question.reference, *question.answers} if answer]
    longest = 0
    for start in range(0, len(texts), _BATCH):
        ids = tokenizer(texts[start : start + _BATCH], add_special_tokens=False)["input_ids"]
        longest = max(longest, *(len(row) for row in ids))
    return longest


def token_limit(metric: AnswerMetric | None, questions: Sequence[Question], tokenizer: Any) -> int:
    """The larger of the metric's own limit and the longest reference plus a margin (at most 1024).

    Args:
        metric: None for free text.
        questions: questions with references; may be empty.
        tokenizer: the LLM's tokenizer.
    """
    least = metric.tokens if metric is not None else FREE_TEXT
    return max(least, min(MOST, longest_answer(questions, tokenizer) + MARGIN))
