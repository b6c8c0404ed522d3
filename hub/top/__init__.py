"""Adapters that connect frozen encoders, language models and generators.

This is the package ``inlay`` itself: setuptools' ``package-dir`` in ``pyproject.toml`` puts the file above
``inlay.adapters``, ``inlay.hub`` and ``inlay.recipes``. It imports nothing, so that importing one of them takes no
extra time.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """``__version__``, the installed version; read when it is asked for."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("inlay")
