"""The sizes of precomputed features: width, tokens, and a name for their origin. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inlay.hub.errors import InlayError

__all__ = ["FeatureSizes", "FeatureSizesError"]

_LARGEST = 1 << 20
_NAME = r"[A-Za-z0-9_./\- ]{1,128}"
_WORD = re.compile(rf"(\d{{1,7}})x(1-)?(\d{{1,7}})(?::({_NAME}))?", re.ASCII)


class FeatureSizesError(InlayError):
    """The sizes of features are not valid."""


@dataclass(frozen=True, slots=True)
class FeatureSizes:
    """The sizes of the features of one medium.

    Raises:
        FeatureSizesError: a size is not a positive integer, or the name has other characters than letters, digits,
            spaces and ``_./-``.
    """

    width: int
    """Values per token."""
    tokens: int
    """Tokens per medium."""
    variable: bool = False
    """Whether a medium may have fewer tokens; zeros are appended."""
    source: str | None = None
    """Name of the features' origin, such as ``eeg-v2``."""

    def __post_init__(self) -> None:
        for name in ("width", "tokens"):
            size = getattr(self, name)
            if type(size) is not int or not 1 <= size <= _LARGEST:
                raise FeatureSizesError(f"features: {name}: expected an integer from 1 to {_LARGEST:,}, got {size!r}")
        if self.source is not None and not re.fullmatch(_NAME, self.source):
            raise FeatureSizesError(
                f"features: source: expected up to 128 letters, digits, spaces and _./-, got {self.source!r}"
            )

    @classmethod
    def parse(cls, word: str) -> FeatureSizes:
        """Parse sizes: ``64x16``, ``64x1-16`` for up to 16 tokens, ``64x16:eeg-v2`` with a name.

        Raises:
            FeatureSizesError: another form.

        Example:
            >>> FeatureSizes.parse("64x1-16:eeg-v2")
            FeatureSizes(width=64, tokens=16, variable=True, source='eeg-v2')
        """
        found = _WORD.fullmatch(word) if isinstance(word, str) else None
        if found is None:
            raise FeatureSizesError(
                "features: expected WIDTHxTOKENS such as 64x16, 64x1-16 for up to 16 tokens, or 64x16:NAME, got "
                f"{word!r}"
            )
        width, up_to, tokens, source = found.groups()
        return cls(int(width), int(tokens), up_to is not None, source)

    def __str__(self) -> str:
        """The notation that :meth:`parse` reads."""
        named = "" if self.source is None else f":{self.source}"
        return f"{self.width}x{'1-' if self.variable else ''}{self.tokens}{named}"
