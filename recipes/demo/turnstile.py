"""A lock with a short queue: one request is answered at a time, a few wait, and further ones are refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from inlay.recipes.demo.limits import DemoError

__all__ = ["Turnstile"]


class Turnstile:
    """A lock with a short queue, so that memory does not grow with the number of requests.

    Args:
        waiting: how many may wait while one holds the lock.

    Example:
        >>> gate = Turnstile(0)
        >>> with gate.place(), gate.turn():
        ...     print("answering")
        answering
    """

    def __init__(self, waiting: int) -> None:
        self._places = threading.BoundedSemaphore(waiting + 1)
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue, taken before a body is read, so that only so many bodies are ever in memory.

        Raises:
            DemoError: 503, all places are taken.
        """
        if not self._places.acquire(blocking=False):
            raise DemoError("many are asking just now; try again in a few seconds", status=503, retry_after=5)
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn and hold it."""
        with self._lock:
            yield

    def drain(self, seconds: float) -> bool:
        """Wait until the lock is free and keep it, so that no further request is answered.

        Returns:
            Whether it was free within so many seconds.
        """
        return self._lock.acquire(timeout=seconds)
