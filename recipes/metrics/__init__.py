"""Metrics as torchmetrics classes over pure functions."""

from __future__ import annotations

from inlay.recipes.metrics.exact_match import ExactMatch, exact_match
from inlay.recipes.metrics.normalize import normalize_answer
from inlay.recipes.metrics.score import MetricError
from inlay.recipes.metrics.vqa_accuracy import VQAAccuracy, vqa_accuracy

__all__ = ["ExactMatch", "MetricError", "VQAAccuracy", "exact_match", "normalize_answer", "vqa_accuracy"]
