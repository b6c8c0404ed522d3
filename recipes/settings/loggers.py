"""Loggers by name, checked without importing them."""

from __future__ import annotations

from importlib.util import find_spec

from inlay.recipes.settings.errors import SettingsError

__all__ = ["check_logger"]

_LOGGERS = ("csv", "tensorboard", "wandb", "mlflow")


def check_logger(name: str) -> None:
    """Check that a logger is known and that its package is installed.

    Raises:
        SettingsError: unknown logger, or a missing package.
    """
    if name not in _LOGGERS:
        raise SettingsError(f"logger: expected {', '.join(_LOGGERS)} or a logger of Lightning, got {name!r}")
    if name != "csv" and find_spec(name) is None:
        raise SettingsError(f"logger: {name} needs a package of that name: pip install {name}")
