"""Errors of evaluation. Imports nothing heavy."""

from __future__ import annotations

from inlay.hub.errors import InlayError

__all__ = ["BenchmarkError", "EvaluationError", "MetricError"]


class BenchmarkError(InlayError):
    """An unknown benchmark, or official files that are missing or malformed."""


class EvaluationError(InlayError):
    """Questions cannot be answered on this device."""


class MetricError(InlayError):
    """Unknown metric, or predictions, answers and questions that do not match."""
