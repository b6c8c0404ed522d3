"""Errors of evaluations. This file imports nothing heavy."""

from __future__ import annotations

from inlay.hub.errors import InlayError

__all__ = ["EvaluationError", "MetricError"]


class EvaluationError(InlayError):
    """Questions cannot be answered on this device."""


class MetricError(InlayError):
    """No such metric, or predictions, answers and kinds of question that do not belong together."""
