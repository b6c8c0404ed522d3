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
    """Bytes of a request body, and bytes of all encoded media of a request."""
    messages: int = 256
    """Messages of a request."""
    parts: int = 16
    """Media of a request."""
    characters: int = 200_000
    """Characters of all texts of a request."""
    pixels: int = 40_000_000
    """Pixels of all pictures of a request, and of the frames of one clip; compared before they are decoded."""
    seconds: int = 600
    """Duration of a sound or a clip."""
    new_tokens: int = 512
    """Tokens of an answer for requests that name no number."""
    most_tokens: int = 4096
    """The largest number of tokens that a request may ask for."""
    choices: int = 8
    """Answers to one request (``n``)."""
    beams: int = 8
    """Beams of a request (``num_beams``)."""
    steps: int = 200
    """Denoising steps of a generated medium."""
    waiting: int = 64
    """Requests that are accepted beside a full batch; further ones get status 429."""
    batch: int = 16
    """Answers that are generated at once."""
    window_ms: int = 5
    """Milliseconds for which the first request of a batch waits for others that are being read."""
    body_seconds: float = 30.0
    """Time in which a request must have arrived; the headers alone have a third of it."""
    send_seconds: float = 30.0
    """Time in which the client must take a piece of the response."""
    connections: int = 512
    """Open connections; further ones get status 503."""

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
