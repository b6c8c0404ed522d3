"""Errors of settings."""

from __future__ import annotations

from inlay.hub.errors import InlayError

__all__ = ["RecipeError", "SettingsError"]


class SettingsError(InlayError):
    """Settings that contradict each other, or that cannot be met here."""


class RecipeError(InlayError):
    """A recipe contradicts itself or asks for something that does not exist."""
