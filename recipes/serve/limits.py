"""Limits of the server: requests, media, answers, queue and batches."""

from __future__ import annotations

from dataclasses import dataclass

from inlay.recipes.serve.errors import ServeError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """All limits.

    Example:
        >>> Limits(batch=0)
        Traceback (most recent call last):
        ...
        inlay.recipes.serve.errors.ServeError: limits.batch: expected 1 or more, got 0
    """

    request_bytes: int = 32_000_000
    """Maximum bytes of a request body, and of all encoded media of a request."""
    messages: int = 256
    """Maximum messages of a request."""
    parts: int = 16
    """Maximum media of a request."""
    characters: int = 200_000
    """Maximum characters of all texts of a request."""
    pixels: int = 40_000_000
    """Maximum pixels of all pictures of a request, and of the frames of one clip; checked before decoding."""
    seconds: int = 600
    """Maximum duration of a sound or a clip."""
    new_tokens: int = 512
    """Maximum tokens of an answer if the request gives no number."""
    most_tokens: int = 4096
    """Largest number of tokens that a request may ask for."""
    choices: int = 8
    """Maximum answers to one request (``n``)."""
    beams: int = 8
    """Maximum beams of a request (``num_beams``)."""
    steps: int = 200
    """Maximum denoising steps of a generated medium."""
    waiting: int = 64
    """Requests that may wait while the batch is full; further requests get status 429."""
    batch: int = 16
    """Maximum answers that are generated at once."""
    window_ms: int = 5
    """Milliseconds that the first request of a batch waits for requests that are still being received."""
    body_seconds: float = 30.0
    """Seconds in which a request must arrive; its headers must arrive in a third of this time."""
    send_seconds: float = 30.0
    """Seconds in which the client must accept each piece of the response."""
    connections: int = 512
    """Maximum open connections; further connections get status 503."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name in {"waiting", "window_ms", "parts"} else 1
            if value < least and not name.endswith("_seconds"):
                raise ServeError(f"limits.{name}: expected {least} or more, got {value}")
            if not 0 < value < float("inf") and name.endswith("_seconds"):
                raise ServeError(f"limits.{name}: expected a number of seconds above 0, got {value}")
        if self.new_tokens > self.most_tokens:
            raise ServeError(
                f"limits.new_tokens: expected at most limits.most_tokens ({self.most_tokens}), got {self.new_tokens}"
            )

    @property
    def accepted(self) -> int:
        """Requests that are held at once: read, waiting, or answered."""
        return self.waiting + self.batch
