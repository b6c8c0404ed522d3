"""The tiling rules by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from inlay.adapters.media.tiling.anyres import AnyRes
from inlay.adapters.media.tiling.grid import Tiling, TilingError
from inlay.adapters.media.tiling.split import Split
from inlay.adapters.media.tiling.thumbnail import Thumbnail

__all__ = ["TILINGS", "tiling_of"]

TILINGS: Mapping[str, type[Tiling]] = {rule.name: rule for rule in (AnyRes, Thumbnail, Split)}
"""Name -> rule."""


@lru_cache(maxsize=64)
def tiling_of(text: str) -> Tiling:
    """Parse a rule: a name of :data:`TILINGS`, optionally followed by a colon and settings.

    Raises:
        TilingError: an unknown name, or settings out of bounds.

    Example:
        >>> tiling_of("tiles").text, tiling_of("tiles:1-6").text
        ('tiles:1-12', 'tiles:1-6')
    """
    name, colon, settings = text.partition(":")
    if name not in TILINGS or (colon and not settings):
        raise TilingError(f"tiling: expected one of {', '.join(TILINGS)}, got {text!r}")
    return TILINGS[name].parse(settings)
