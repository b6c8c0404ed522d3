"""The API key, and the sessions of browsers that gave it: random tokens in memory, in a cookie.

The cookie is ``HttpOnly`` (no script reads it), ``SameSite=Strict`` (no other site's page sends it) and ends with the
browser or after twelve hours, whichever comes first.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

__all__ = ["Credentials"]

_COOKIE = "inlay_session"
_SECONDS = 12 * 3600
_MOST = 10_000  # sessions; a new one replaces the oldest


class Credentials:
    """Judges keys and sessions.

    Args:
        key: the API key.
        clock: the time in seconds.

    Example:
        >>> own = Credentials("a-key-of-sixteen-characters")
        >>> own.is_key("another-key-of-sixteen"), own.is_key("a-key-of-sixteen-characters")
        (False, True)
    """

    def __init__(self, key: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._digest, self._clock = _digest(key), clock
        self._sessions: dict[bytes, float] = {}

    def is_key(self, given: str) -> bool:
        """Whether this is the API key; the time of the comparison does not depend on where they differ."""
        return hmac.compare_digest(_digest(given), self._digest)

    def begin_session(self, *, secure: bool) -> str:
        """A new session.

        Args:
            secure: whether the page was called by https, also at a proxy.

        Returns:
            The header ``Set-Cookie``.
        """
        while len(self._sessions) >= _MOST:
            del self._sessions[next(iter(self._sessions))]
        token = secrets.token_urlsafe(32)
        self._sessions[_digest(token)] = self._clock() + _SECONDS
        return _cookie(token, secure=secure)

    def has_session(self, cookies: str) -> bool:
        """Whether the header ``Cookie`` names a session that has not ended."""
        return self._sessions.get(_digest(_token(cookies)), 0.0) > self._clock()

    def end_session(self, cookies: str) -> str:
        """End a session.

        Returns:
            The header ``Set-Cookie`` that removes the cookie.
        """
        self._sessions.pop(_digest(_token(cookies)), None)
        return _cookie("", secure=False) + "; Max-Age=0"


def _token(cookies: str) -> str:
    try:
        found = SimpleCookie(cookies).get(_COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _cookie(token: str, *, secure: bool) -> str:
    return f"{_COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"


def _digest(text: str) -> bytes:
    """Digests have one length, so the time of a comparison does not depend on that of the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
