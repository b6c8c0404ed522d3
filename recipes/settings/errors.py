"""Errors of settings."""

from __future__ import annotations

from inlay.hub.errors import InlayError

__all__ = ["RecipeError", "SettingsError"]


class SettingsError(InlayError):
    """Settings contradict each other, or this machine does not support them."""


class RecipeError(InlayError):
    """A recipe contradicts itself or refers to something that does not exist."""
