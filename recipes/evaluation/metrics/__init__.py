"""Metrics as torchmetrics classes over pure functions, and their registry."""

from __future__ import annotations

from inlay.recipes.evaluation.errors import MetricError
from inlay.recipes.evaluation.metric_registry import AnswerMetric, register_metric
from inlay.recipes.evaluation.metrics.captions.bleu import Bleu
from inlay.recipes.evaluation.metrics.captions.cider import Cider, cider
from inlay.recipes.evaluation.metrics.captions.rouge_l import RougeL, rouge_l
from inlay.recipes.evaluation.metrics.captions.words import caption_words
from inlay.recipes.evaluation.metrics.exact_match import ExactMatch, exact_match
from inlay.recipes.evaluation.metrics.hallucination.chair import Chair, caption_objects
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.evaluation.metrics.normalize import normalize_answer
from inlay.recipes.evaluation.metrics.pope import Pope, says_yes
from inlay.recipes.evaluation.metrics.recall import RetrievalRecall, recall_at_k
from inlay.recipes.evaluation.metrics.reward_accuracy import RewardAccuracy
from inlay.recipes.evaluation.metrics.selection import choose_metric
from inlay.recipes.evaluation.metrics.vqa_accuracy import VQAAccuracy, vqa_accuracy

__all__ = [
    "AnswerMetric",
    "Bleu",
    "Chair",
    "Cider",
    "ExactMatch",
    "MetricError",
    "ObjectVocabulary",
    "Pope",
    "RetrievalRecall",
    "RewardAccuracy",
    "RougeL",
    "VQAAccuracy",
    "caption_objects",
    "caption_words",
    "choose_metric",
    "cider",
    "exact_match",
    "normalize_answer",
    "recall_at_k",
    "register_metric",
    "rouge_l",
    "says_yes",
    "vqa_accuracy",
]
