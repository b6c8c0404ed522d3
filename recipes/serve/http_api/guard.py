"""Middleware in front of the application: host names, other pages, the API key, and clients that do not read.

A plain ASGI middleware (https://asgi.readthedocs.io/en/latest/specs/www.html). There are no CORS headers, bodies of
questions must be ``application/json``, and requests with the ``Origin`` of another page are refused, so that pages of
other sites cannot use a server on the same machine; the host name is compared, so that DNS rebinding does not help them
either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inlay.hub.safety.text import shown
from inlay.recipes.serve.errors import ApiError
from inlay.recipes.serve.http_api.credentials import Credentials

__all__ = ["LOOPBACK", "Doors", "Guard"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Host names of a server that only this machine reaches."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, a browser sends the login form with the origin null
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response that does not set them itself."""


@dataclass(frozen=True, kw_only=True)
class Doors:
    """Which requests reach the application."""

    hosts: Sequence[str] = LOOPBACK
    """Host names by which clients may call the server; empty for any."""
    proxies: Sequence[str] = ()
    """Host names of proxies with TLS; pages of these names are the server's own."""
    open_paths: Collection[str] = ("/health",)
    """Paths that need no key."""
    login: str = ""
    """The path to which a browser without a session is sent; empty for a server without pages."""


class Guard:
    """The middleware.

    Args:
        app: the application.
        doors: which requests reach it.
        credentials: the API key and its sessions; None for none.
        send_seconds: time in which a client must take a piece of the response.
    """

    def __init__(self, app: ASGIApp, *, doors: Doors, credentials: Credentials | None, send_seconds: float) -> None:
        self.app, self.doors, self.credentials, self.send_seconds = app, doors, credentials, send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def bounded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            # uvicorn waits here while the client takes nothing.
            async with asyncio.timeout(self.send_seconds):
                await send(message)

        refused = self._refused(scope, Headers(scope=scope))
        await (self.app if refused is None else refused)(scope, receive, bounded)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        """The response to a request that does not reach the application."""
        path, own = scope["path"], self.credentials
        if self.doors.hosts and _host(headers.get("host", "")) not in self.doors.hosts:
            text = (
                f"Host: expected {', '.join(dict.fromkeys(self.doors.hosts))}, got {shown(headers.get('host', ''))}; "
                "--allow_host NAME allows another name"
            )
            return _response(ApiError(text, status=403))
        if self._is_foreign(headers):
            text = "Pages of other sites may not use this server; --allow_host NAME allows the pages of a proxy"
            return _response(ApiError(text, status=403))
        if own is None or path in self.doors.open_paths or own.has_session(headers.get("cookie", "")):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            if self.doors.login and path == "/" and scope["method"] == "GET":
                return RedirectResponse(self.doors.login, 303)
            text = "You didn't provide an API key: expected the header 'Authorization: Bearer KEY'."
            return _response(ApiError(text, status=401, code="missing_api_key"))
        if own.is_key(given.strip()):
            return None
        return _response(ApiError("Incorrect API key provided.", status=401, code="invalid_api_key"))

    def _is_foreign(self, headers: Headers) -> bool:
        """Whether a page of another site sends the request."""
        origin, host = headers.get("origin"), headers.get("host", "").lower()
        if origin is None:  # no browser, or a request without a body: it may be a link that a user follows
            site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "navigate")
            return site in {"cross-site", "same-site"} and mode != "navigate"
        scheme, _, place = origin.lower().partition("://")
        return origin.lower() != f"http://{host}" and not (scheme in {"http", "https"} and place in self.doors.proxies)


def _response(error: ApiError) -> JSONResponse:
    return JSONResponse(error.document(), error.status, headers=error.headers | {"Connection": "close"})


def _host(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""
