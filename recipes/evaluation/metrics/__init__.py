"""Metrics as torchmetrics classes over pure functions."""

from __future__ import annotations

from inlay.recipes.evaluation.metrics.bleu import Bleu
from inlay.recipes.evaluation.metrics.caption_words import caption_words
from inlay.recipes.evaluation.metrics.cider import Cider, cider
from inlay.recipes.evaluation.metrics.exact_match import ExactMatch, exact_match
from inlay.recipes.evaluation.metrics.normalize import normalize_answer
from inlay.recipes.evaluation.metrics.pope import Pope, says_yes
from inlay.recipes.evaluation.metrics.recall import RetrievalRecall, recall_at_k
from inlay.recipes.evaluation.metrics.rouge_l import RougeL, rouge_l
from inlay.recipes.evaluation.metrics.score import MetricError
from inlay.recipes.evaluation.metrics.vqa_accuracy import VQAAccuracy, vqa_accuracy

__all__ = [
    "Bleu",
    "Cider",
    "ExactMatch",
    "MetricError",
    "Pope",
    "RetrievalRecall",
    "RougeL",
    "VQAAccuracy",
    "caption_words",
    "cider",
    "exact_match",
    "normalize_answer",
    "recall_at_k",
    "rouge_l",
    "says_yes",
    "vqa_accuracy",
]
