"""The page over HTTP: a handful of fixed addresses to look at, one to ask. Standard library only.

Who accepts ``application/x-ndjson`` gets an answer line by line: ``{"text": ...}`` for words as they are written, at
the end ``{"answer": ...}`` with the whole, media among it, or ``{"error": ...}``. Everybody else gets one JSON.

Whoever is on the network, or has a page open in the same browser, is a stranger: every request is bounded in bytes and
time, and must name this server (DNS rebinding) and come from its own page.
"""

from __future__ import annotations

import ipaddress
import json
import select
import socket
import socketserver
import sys
import threading
import time
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import urlsplit

from inlay.hub.errors import InlayError
from inlay.hub.safety.text import shown
from inlay.recipes.demo.demonstration import Demonstration, Served
from inlay.recipes.demo.form import read_form
from inlay.recipes.demo.limits import DemoError, Limits
from inlay.recipes.demo.question import read_question
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
    """Bound when it is made, so that a taken port is known before a model is loaded; open from :meth:`open` on.

    Args:
        host: address to listen on.
        port: 0 takes any free one.
        limits: what a request may cost.

    Raises:
        DemoError: the address cannot be had.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, limits: Limits | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.limits, self.host = limits or Limits(), host
        self.turnstile = Turnstile(self.limits.waiting)
        self.served: dict[str, Served] = {}
        self._connections = threading.BoundedSemaphore(self.limits.connections)
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
        """Where to look."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.server_port}/"

    def open(self, demonstration: Demonstration) -> None:
        """Begin to listen; ``serve_forever`` then answers."""
        self.demonstration, self.served = demonstration, demonstration.addresses()
        self.server_activate()

    def is_own_name(self, host: str) -> bool:
        """Whether a ``Host`` header is one that no stranger's DNS can point here: an address, or our own name."""
        with suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            if name in {"localhost", self.host.lower()}:
                return True
            ipaddress.ip_address(name)
            return True
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """One thread a connection, but not any number of them."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor who leaves is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request a connection."""

    def setup(self) -> None:
        super().setup()
        self._begun = False  # to answer line by line
        self.connection.settimeout(self.own.limits.seconds)
        # The socket's own timeout starts anew with every byte; this one does not.
        self._deadline = threading.Timer(self.own.limits.seconds, self._cut)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

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
        try:
            self._check_sender()
            act()
        except DemoError as error:
            self._refuse(error)
        except InlayError as error:
            self._refuse(DemoError(str(error)))
        except OSError:
            raise
        except Exception:
            # The visitor learns that it failed, the person at the terminal why.
            traceback.print_exc()
            self._refuse(DemoError("the model failed on this; the terminal of the demo says why", status=500))

    def _check_sender(self) -> None:
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not self.own.is_own_name(host):
            raise DemoError("this server is not reached by that name; use its address", status=403)
        if origin is not None and origin.lower() != f"http://{host}".lower():
            raise DemoError("only the demo's own page may ask", status=403)

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
                # Who has left cannot be written to, and so ends what nobody reads.
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
        """Whether the visitor left while waiting; a browser that waits for an answer sends nothing more."""
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
        """What the library refuses itself (methods, lines that are too long): as JSON, not as its HTML page."""
        self._send(int(code), _as_json({"error": shown(message or "this request cannot be read")}))

    def version_string(self) -> str:
        return "inlay"

    def log_message(self, *args: Any) -> None:
        """Visitors are not written down."""


def _as_json(value: dict[str, object]) -> Served:
    return Served("application/json", json.dumps(value).encode())
