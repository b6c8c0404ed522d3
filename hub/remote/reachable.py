"""Test whether the hub can be reached, with one request, so that a missing network is reported within seconds.

huggingface_hub sends each request for a file six times and waits 23 seconds in between, and a loader requests several
files. Inside :func:`cache_if_unreachable` one request is sent; without an answer only the cache is read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ADVICE", "cache_if_unreachable", "is_missing_in_cache", "with_option"]

ADVICE = "give the folder of a local copy, or check the network and HF_ENDPOINT; HF_HUB_OFFLINE=1 reads the cache alone"
_SECONDS = 5.0
"""Seconds to wait for the answer."""
_KNOWN = 60.0
"""Seconds after which an unreachable hub is tested again; a hub that has answered once is not tested again."""

_lock = threading.RLock()
_inside = 0
"""Number of open blocks that read only the cache, over all threads."""
_asked: dict[str, tuple[str, float]] = {}
"""Address -> the reason why it cannot be reached (empty if it can), and the time of the request."""


@contextmanager
def cache_if_unreachable() -> Iterator[str]:
    """Read only the cache inside the block if the hub cannot be reached.

    Yields:
        The reason why the hub cannot be reached; empty if it can, or if ``HF_HUB_OFFLINE`` is set.
    """
    global _inside
    from huggingface_hub import constants

    with _lock:
        reason = _unreachable() if _inside or not constants.is_offline_mode() else ""
        if reason:
            _inside += 1
            constants.HF_HUB_OFFLINE = True
    try:
        yield reason
    finally:
        if reason:
            with _lock:
                _inside -= 1
                constants.HF_HUB_OFFLINE = _inside > 0


def with_option(said: str, option: str) -> str:
    """Add to an error about a model, once, the option that takes a local copy.

    Example:
        >>> with_option(f"x: not in the cache; {ADVICE}", "--llm").partition(", or")[0]
        'x: not in the cache; give the folder of a local copy (--llm)'
        >>> with_option("x: no such folder", "--llm")
        'x: no such folder; to use a local copy, give its folder: --llm'
    """
    place = "the folder of a local copy"
    if place in said:
        return said.replace(place, f"{place} ({option})", 1)
    return f"{said}; to use a local copy, give its folder: {option}"


def is_missing_in_cache(error: BaseException) -> bool:
    """Whether an error of a loader comes from a file that is not in the cache while no request may be sent."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    link: BaseException | None = error
    while link is not None:
        if isinstance(link, LocalEntryNotFoundError | OfflineModeIsEnabled):
            return True
        link = link.__cause__ or link.__context__
    return False


def _unreachable() -> str:
    from huggingface_hub import constants

    address = constants.ENDPOINT
    reason, since = _asked.get(address, ("never asked", float("-inf")))
    if reason and time.monotonic() - since > _KNOWN:
        _asked[address] = reason, _ = _ask(address), time.monotonic()
    return reason


def _ask(address: str) -> str:
    """Send one request; any answer counts."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by __getattr__

    try:
        get_session().request("HEAD", address, timeout=_SECONDS, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return str(error) or type(error).__name__
    return ""
