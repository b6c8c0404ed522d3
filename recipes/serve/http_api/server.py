"""The server process: a bound socket, uvicorn, and connections whose headers do not arrive."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from inlay.recipes.serve.errors import ServeError
from inlay.recipes.serve.limits import Limits

__all__ = ["bound", "server_of", "url_of"]


def bound(host: str, port: int) -> socket.socket:
    """A listening socket, bound before a model is loaded.

    Raises:
        ServeError: the address is taken, or not one of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise ServeError(f"{host}:{port}: the address cannot be used: {error}; choose another --port") from None


def url_of(listening: socket.socket) -> str:
    """The base URL for OpenAI clients."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def server_of(app: Any, limits: Limits) -> uvicorn.Server:
    """A server whose ``run(sockets=[...])`` serves until SIGINT or SIGTERM, and then finishes the running answers.

    Args:
        app: the application.
        limits: of connections and times.
    """
    config = uvicorn.Config(
        app,
        http=_protocol(limits.body_seconds / 3, limits.connections // 2),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=20,
        lifespan="on",
    )
    return uvicorn.Server(config)


def _protocol(seconds: float, most: int) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP/1.1 with limits that it lacks, on connections whose first request has not arrived.

    Args:
        seconds: time for the headers of the first request.
        most: such connections; of more, the oldest is closed, so that they do not keep others out.
    """
    silent: dict[Any, None] = {}

    class Timed(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.loop.call_later(seconds, self._close_silent)
            for other in [other for other in silent if other.cycle is not None]:
                del silent[other]
            silent[self] = None
            if len(silent) > max(1, most):
                next(iter(silent))._close_silent()

        def connection_lost(self, exc: Exception | None) -> None:
            silent.pop(self, None)
            super().connection_lost(exc)

        def _close_silent(self) -> None:
            silent.pop(self, None)
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()
                self.connections.discard(self)

    return Timed
