"""The page over HTTP: a few fixed addresses to look at, and one to ask. Standard library only.

A client that accepts ``application/x-ndjson`` gets an answer line by line: ``{"text": ...}`` for words as they are
written, at the end ``{"answer": ...}`` with the whole answer and its media, or ``{"error": ...}``. Any other client
gets one JSON object.

Clients are not trusted: every request is bounded in bytes and time, and must name this server (DNS rebinding) and come
from its own page (:mod:`inlay.recipes.demo.sender`). A connection takes one of the places only when its headers have
come in; of those whose headers have not, the oldest is closed when there are too many.
"""

from __future__ import annotations

import json
import select
import socket
import socketserver
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from inlay.hub.errors import InlayError
from inlay.hub.safety.text import shown
from inlay.recipes.demo.demonstration import Demonstration, Served
from inlay.recipes.demo.form import read_form
from inlay.recipes.demo.limits import DemoError, Limits
from inlay.recipes.demo.question import read_question
from inlay.recipes.demo.sender import Sender
from inlay.recipes.demo.turnstile import Turnstile

__all__ = ["DemoServer"]

ASK = "/ask"
_LINES = "application/x-ndjson"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_OTHER_FIELDS = 3  # of a form, beside its pictures
_LINGER = 2.0  # seconds for which the rest of a refused upload is read, so that its sender sees the answer


class DemoServer(ThreadingHTTPServer):
    """Bound when it is created, so that a taken port is known before a model is loaded; open from :meth:`open` on.

    Args:
        host: address to listen on.
        port: 0 takes any free one.
        limits: what a request may cost.
        allowed: names of proxies in front of it.

    Raises:
        DemoError: the address cannot be had.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, limits: Limits | None = None, allowed: Sequence[str] = ()) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.limits, self.host = limits or Limits(), host
        self.sender = Sender(host, allowed)
        self.turnstile = Turnstile(self.limits.waiting)
        self.served: dict[str, Served] = {}
        self._connections = threading.BoundedSemaphore(self.limits.connections)
        self._silent: dict[Any, None] = {}  # Connections whose headers have not come in, the oldest first.
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler, bind_and_activate=False)
        try:
            self.server_bind()
        except (OSError, OverflowError) as error:
            self.server_close()
            why = getattr(error, "strerror", None) or error
            raise DemoError(f"{host}, port {port}: {why}; choose others by --host and --port (0: any free)") from None

    def server_bind(self) -> None:
        """Bind without asking a name server what this machine is called, as the library would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.server_port}/"

    def open(self, demonstration: Demonstration) -> None:
        """Begin to listen; ``serve_forever`` then answers."""
        self.demonstration, self.served = demonstration, demonstration.addresses()
        self.server_activate()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection; of too many that have not sent their headers, close the oldest."""
        with self._lock:
            if len(self._silent) >= self.limits.connections:
                oldest = next(iter(self._silent))
                del self._silent[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # Its thread reads the end and closes it.
            self._silent[request] = None
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.heard(request)

    def heard(self, connection: Any) -> None:
        """Count a connection no longer among those whose headers have not come in."""
        with self._lock:
            self._silent.pop(connection, None)

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places for connections that are answered.

        Raises:
            DemoError: 503, all are taken.
        """
        if not self._connections.acquire(blocking=False):
            raise DemoError("many are asking just now; try again in a few seconds", status=503, retry_after=5)
        try:
            yield
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Errors of connections that the client has closed are not printed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request a connection."""

    def setup(self) -> None:
        super().setup()
        self._begun = False  # to answer line by line
        limits = self.own.limits
        self.connection.settimeout(limits.seconds)
        self._cut_after(min(limits.head_seconds, limits.seconds))

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

    def _cut_after(self, seconds: float) -> None:
        # The socket's own timeout starts anew with every byte; this one does not.
        self._deadline = threading.Timer(seconds, self._cut)
        self._deadline.daemon = True
        self._deadline.start()

    def _cut(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    @property
    def own(self) -> DemoServer:
        return cast(DemoServer, self.server)

    def do_GET(self) -> None:
        self._guarded(self._look)

    def do_POST(self) -> None:
        self._guarded(self._ask)

    def _guarded(self, act: Any) -> None:
        self._deadline.cancel()
        self.own.heard(self.connection)
        self._cut_after(self.own.limits.seconds)
        try:
            with self.own.place():
                self.own.sender.check(self.headers.get("Host", ""), self.headers.get("Origin"))
                act()
        except DemoError as error:
            self._refuse(error)
        except InlayError as error:
            self._refuse(DemoError(str(error)))
        except OSError:
            raise
        except Exception:
            # The client is told that it failed; the reason stands in the terminal.
            traceback.print_exc()
            self._refuse(DemoError("the model failed on this; the terminal of the demo says why", status=500))

    def _look(self) -> None:
        served = self.own.served.get(self.path)
        if served is None:
            raise DemoError("there is nothing here", status=404)
        self._send(200, served)

    def _ask(self) -> None:
        if self.path != ASK:
            raise DemoError("there is nothing here", status=404)
        length = self._length()
        with self.own.turnstile.place():
            body = self.rfile.read(length)
            if len(body) != length:
                raise DemoError("the upload broke off", status=408)
            self._deadline.cancel()
            limits = self.own.limits
            fields = read_form(body, self.headers.get("Content-Type", ""), most=limits.pictures + _OTHER_FIELDS)
            del body
            question = read_question(fields, limits)
            lines = _LINES in self.headers.get("Accept", "")
            with self.own.turnstile.turn():
                if self._gone():
                    return
                # Writing to a closed connection fails, and so ends an answer that is not read.
                reply = self.own.demonstration.answer(question, self._say if lines else None)
        if lines:
            self._line({"answer": reply})
        else:
            self._send(200, _as_json(reply))

    def _say(self, piece: str) -> None:
        self._line({"text": piece})

    def _line(self, value: dict[str, object]) -> None:
        if not self._begun:
            self._head(200, _LINES)
            self._begun = True
        self.wfile.write(json.dumps(value).encode() + b"\n")

    def _length(self) -> int:
        text, most = self.headers.get("Content-Length", ""), self.own.limits.upload_bytes
        if "Transfer-Encoding" in self.headers or not (text.isascii() and text.isdigit()):
            raise DemoError("expected a Content-Length", status=411)
        if len(text) > 18 or int(text) > most:
            raise DemoError(
                f"too large: pictures and text of a conversation are at most {most / 1e6:g} MB together; make the "
                "pictures smaller, or start a new conversation",
                status=413,
            )
        return int(text)

    def _gone(self) -> bool:
        """Whether the client left while waiting; a browser that waits for an answer sends nothing more."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _refuse(self, error: DemoError) -> None:
        if self._begun:
            self._line({"error": str(error)})
            return
        more = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        self._send(error.status, _as_json({"error": str(error)}), more)
        if self.command == "POST":
            self._linger()

    def _linger(self) -> None:
        """Closing on unread bytes would reset the connection, and the sender would not see the answer."""
        end = time.monotonic() + _LINGER
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER)
            while time.monotonic() < end and self.connection.recv(1 << 16):
                pass

    def _send(self, status: int, served: Served, more: dict[str, str] | None = None) -> None:
        self._head(status, served.type, {"Content-Length": str(len(served.body))} | (more or {}))
        self.wfile.write(served.body)

    def _head(self, status: int, kind: str, more: dict[str, str] | None = None) -> None:
        """Without a length, the end of the connection ends the body."""
        self.send_response(status)
        for name, value in (_HEADERS | {"Content-Type": kind} | (more or {})).items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors of the library itself (methods, lines that are too long) as JSON, not as its HTML page."""
        self._send(int(code), _as_json({"error": shown(message or "this request cannot be read")}))

    def version_string(self) -> str:
        return "inlay"

    def log_message(self, *args: Any) -> None:
        """Requests are not logged."""


def _as_json(value: dict[str, object]) -> Served:
    return Served("application/json", json.dumps(value).encode())
