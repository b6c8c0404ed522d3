"""What stands in front of the application: host names, the API key, and clients that do not read their responses.

A plain ASGI middleware (https://asgi.readthedocs.io/en/latest/specs/www.html). There are no CORS headers, and bodies
must be ``application/json``, so that pages in a browser cannot use a server on the same machine; the host name is
compared, so that DNS rebinding does not help them either.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inlay.recipes.serve.errors import ApiError

__all__ = ["LOOPBACK", "Guard"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Host names of a server that only this machine reaches."""
_OPEN = {"/health"}
"""Paths without a key."""


class Guard:
    """The middleware.

    Args:
        app: the application.
        key: the API key; None for none.
        hosts: host names by which clients may call the server; empty for any.
        send_seconds: time in which a client must take a piece of the response.
    """

    def __init__(self, app: ASGIApp, *, key: str | None, hosts: Sequence[str], send_seconds: float) -> None:
        self.app, self.hosts, self.send_seconds = app, frozenset(hosts), send_seconds
        self._digest = None if key is None else _digest(key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        error = self._refusal(scope["path"], headers)
        if error is not None:
            refused = JSONResponse(error.document(), error.status, headers=error.headers | {"Connection": "close"})
            await refused(scope, receive, send)
            return

        async def bounded(message: Message) -> None:
            # uvicorn waits here while the client takes nothing.
            async with asyncio.timeout(self.send_seconds):
                await send(message)

        await self.app(scope, receive, bounded)

    def _refusal(self, path: str, headers: dict[Any, str]) -> ApiError | None:
        if self.hosts and _host(headers.get(b"host", "")) not in self.hosts:
            return ApiError("This server is not called by this host name; --allow_host NAME allows it", status=403)
        if self._digest is None or path in _OPEN:
            return None
        scheme, _, given = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            return ApiError(
                "You didn't provide an API key: expected the header 'Authorization: Bearer KEY'.",
                status=401,
                code="missing_api_key",
            )
        if not hmac.compare_digest(_digest(given.strip()), self._digest):
            return ApiError("Incorrect API key provided.", status=401, code="invalid_api_key")
        return None


def _digest(key: str) -> bytes:
    """Digests have one length, so the time of the comparison does not depend on that of the key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _host(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""
