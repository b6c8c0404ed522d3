"""Time limits for every request to a hub: how long huggingface_hub waits for an answer.

Its shared HTTP client has no time limit, and its retries wait again after each failure, so that a hub that accepts
connections and never answers would block for ever. Inside :func:`time_limit` every request has a limit, and a request
that was not answered in time is not sent again. https://www.python-httpx.org/advanced/event-hooks/
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["NoAnswerError", "seconds", "time_limit"]

WRITE_FACTOR = 3
"""Factor on the limit of a commit or an upload, which takes a hub longer to answer than a read."""


class NoAnswerError(Exception):
    """A request was not answered in time, and huggingface_hub was about to send it again."""


_lock = threading.Lock()
_active = 0
"""Number of open :func:`time_limit` blocks, over all threads, because the uploads of one call run in several."""
_thread = threading.local()


def seconds(method: str = "GET") -> float:
    """Longest wait for a connection or for the next bytes of an answer; ``HF_HUB_DOWNLOAD_TIMEOUT``, 10 by default."""
    from huggingface_hub import constants

    return constants.HF_HUB_DOWNLOAD_TIMEOUT * (1 if method in ("GET", "HEAD") else WRITE_FACTOR)


@contextmanager
def time_limit() -> Iterator[None]:
    """Limit the requests that huggingface_hub sends while the block runs.

    Raises:
        NoAnswerError: from the block, instead of another try.
    """
    global _active
    from huggingface_hub import get_session

    hooks = get_session().event_hooks
    if _before not in hooks["request"]:
        get_session().event_hooks = {
            "request": [*hooks["request"], _before],
            "response": [*hooks["response"], _after],
        }
    with _lock:
        _active += 1
    _thread.since = None
    try:
        yield
    finally:
        with _lock:
            _active -= 1


def _before(request: Any) -> None:
    if not _active:
        return
    limit = seconds(request.method)
    since = getattr(_thread, "since", None)
    if since is not None and time.monotonic() - since >= limit:
        _thread.since = None
        raise NoAnswerError(f"{request.url.host}: no answer within {limit:g} s")
    _thread.since = time.monotonic()
    given = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        kind: limit if given.get(kind) is None else min(given[kind], limit)
        for kind in ("connect", "read", "write", "pool")
    }


def _after(response: Any) -> None:
    _thread.since = None
