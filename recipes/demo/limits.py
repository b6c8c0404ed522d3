"""What a stranger's request may cost."""

from __future__ import annotations

from dataclasses import dataclass

from inlay.hub.errors import InlayError

__all__ = ["DemoError", "Limits"]


class DemoError(InlayError):
    """The demo cannot start so, or a request is none that it answers.

    Args:
        reason: what was expected, what came, and how to fix it; a stranger reads it.
        status: of HTTP.
        retry_after: seconds after which it is worth trying again.
    """

    def __init__(self, reason: str, *, status: int = 400, retry_after: int | None = None) -> None:
        self.status, self.retry_after = status, retry_after
        super().__init__(reason)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every bound in one place.

    Example:
        >>> Limits(waiting=-1)
        Traceback (most recent call last):
        ...
        inlay.recipes.demo.limits.DemoError: waiting: expected 0 or more, got -1
    """

    upload_bytes: int = 10_000_000
    """Bytes of a request: all pictures of a conversation and its text."""
    pictures: int = 8
    """Pictures in a conversation."""
    pixels: int = 40_000_000
    """Pixels of all pictures in a conversation, checked before they are decoded."""
    turns: int = 64
    """Questions and answers in a conversation."""
    characters: int = 4_000
    """Characters of a turn."""
    new_tokens: int = 512
    """Tokens of an answer, whatever is asked for."""
    waiting: int = 8
    """Requests that wait while one is answered."""
    seconds: float = 30.0
    """Time in which a request must have come in whole."""
    connections: int = 128
    """Connections open at once."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name == "waiting" else 1
            if name != "seconds" and value < least:
                raise DemoError(f"{name}: expected {least} or more, got {value}")
