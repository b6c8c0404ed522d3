"""Errors of evaluation. Imports nothing heavy."""

from __future__ import annotations

from inlay.hub.errors import InlayError

__all__ = ["EvaluationError", "MetricError"]


class EvaluationError(InlayError):
    """Questions cannot be answered on this device."""


class MetricError(InlayError):
    """Unknown metric, or predictions, answers and questions that do not match."""
