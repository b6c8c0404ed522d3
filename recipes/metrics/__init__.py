"""Metrics as torchmetrics classes over pure functions."""

from __future__ import annotations

from inlay.recipes.metrics.bleu import Bleu
from inlay.recipes.metrics.caption_words import caption_words
from inlay.recipes.metrics.cider import Cider, cider
from inlay.recipes.metrics.exact_match import ExactMatch, exact_match
from inlay.recipes.metrics.normalize import normalize_answer
from inlay.recipes.metrics.pope import Pope, says_yes
from inlay.recipes.metrics.recall import RetrievalRecall, recall_at_k
from inlay.recipes.metrics.rouge_l import RougeL, rouge_l
from inlay.recipes.metrics.score import MetricError
from inlay.recipes.metrics.vqa_accuracy import VQAAccuracy, vqa_accuracy

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
