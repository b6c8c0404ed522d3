"""The bounds of a request, and the error of one that is refused."""

from __future__ import annotations

from dataclasses import dataclass

from inlay.hub.errors import InlayError

__all__ = ["DemoError", "Limits"]


class DemoError(InlayError):
    """The demo cannot start with these settings, or refuses a request.

    Args:
        reason: what was expected, what came, and how to fix it; it is sent to the client.
        status: of HTTP.
        retry_after: seconds after which it is worth trying again.
    """

    def __init__(self, reason: str, *, status: int = 400, retry_after: int | None = None) -> None:
        self.status, self.retry_after = status, retry_after
        super().__init__(reason)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """All bounds.

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
    """Tokens of an answer; a larger number in a request is cut to this."""
    waiting: int = 8
    """Requests that wait while one is answered."""
    seconds: float = 30.0
    """Time in which the whole of a request must have come in."""
    head_seconds: float = 5.0
    """Time in which its headers must have come in."""
    connections: int = 128
    """Connections that are answered at once, and connections whose headers have not come in yet."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name == "waiting" else 1
            if "seconds" not in name and value < least:
                raise DemoError(f"{name}: expected {least} or more, got {value}")
