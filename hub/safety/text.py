"""Untrusted text: which characters may be stored, and how to show any value safely in a message."""

from __future__ import annotations

import unicodedata

__all__ = ["forbidden_character", "shown"]

# Bidirectional controls, which reorder the text around them ("Trojan Source", https://trojansource.codes), and line
# separators.
_MISLEADING = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def forbidden_character(text: str, *, newlines: bool = False) -> str | None:
    r"""Find the first character that must not be stored, as ``U+XXXX``; None if there is none.

    Forbidden are control characters (which start terminal escapes), bidirectional controls and lone surrogates.

    Args:
        text: the text to check.
        newlines: allow newline and tab.

    Example:
        >>> forbidden_character("caf\u00e9"), forbidden_character("a\x1b[31m"), forbidden_character("a\nb")
        (None, 'U+001B', 'U+000A')
    """
    for character in text:
        if newlines and character in "\n\t":
            continue
        if character in _MISLEADING or unicodedata.category(character) in ("Cc", "Cs"):
            return f"U+{ord(character):04X}"
    return None


def shown(value: object, limit: int = 80) -> str:
    """Return a short, printable ASCII form of any value, for error messages.

    Example:
        >>> shown("x" * 100, limit=8)
        "'xxxxxxx... (102 characters)"
    """
    text = ascii(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
