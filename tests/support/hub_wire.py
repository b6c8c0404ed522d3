"""The wire below the hub emulator: HTTP/1.1 with keep-alive, and what goes wrong on it on demand."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

__all__ = ["Fault", "Handler", "Problem", "Reply", "Seen", "as_json"]

Reply = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str
    host: str
    token: str | None
    body: bytes
    range: str | None


@dataclass
class Fault:
    """What goes wrong with requests whose ``METHOD path`` matches; ``kind`` is one of those in ``Handler.spoil``."""

    pattern: str
    kind: str
    times: int
    value: Any = None


class Problem(Exception):
    """An answer that is an error, with the header by which clients tell errors apart."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


def as_json(value: object, status: int = 200) -> Reply:
    """A reply that carries JSON."""
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


class Server(Protocol):
    """What a handler needs of the emulator."""

    seen: list[Seen]
    faults: list[Fault]
    before: Any
    lock: Any

    def answer(self, seen: Seen, query: dict[str, list[str]]) -> Reply: ...


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 around the emulator's ``answer``, and the faults."""

    hub: Server
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        body = self._body()
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        host = (self.headers.get("Host") or "").split(":")[0]
        seen = Seen(self.command, url.path, host, token, body, self.headers.get("Range"))
        self.hub.before(f"{self.command} {url.path}")
        with self.hub.lock:
            self.hub.seen.append(seen)
            fault = self._fault(f"{self.command} {url.path}")
            try:
                early = fault is not None and fault.kind in ("status", "limit", "reset")  # nothing is done then
                reply = (0, {}, b"") if early else self.hub.answer(seen, parse_qs(url.query))
            except Problem as problem:
                headers = {"X-Error-Code": problem.code, "X-Error-Message": problem.message}
                status, more, text = as_json({"error": problem.message}, problem.status)
                reply = status, more | {key: value for key, value in headers.items() if value}, text
        self._send(*(self.spoil(fault, reply) if fault else reply), cut=fault is not None and fault.kind == "truncate")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  # http.server looks for these names

    def spoil(self, fault: Fault, reply: Reply) -> Reply:
        status, headers, body = reply
        if fault.kind == "status":
            return fault.value, {}, b"spoilt"
        if fault.kind == "limit":
            return 429, {"Retry-After": str(fault.value or 0)}, b"slow down"
        if fault.kind == "wrong":  # the same length, other bytes
            return status, headers, body[:-1] + bytes([body[-1] ^ 1]) if body else body
        if fault.kind == "etag":
            return status, headers | {"ETag": f'"{fault.value}"', "X-Linked-Etag": f'"{fault.value}"'}, body
        if fault.kind == "body":
            return status, headers, fault.value
        if fault.kind == "header":
            return status, headers | fault.value, body
        if fault.kind == "hang":
            threading.Event().wait(fault.value)  # tests shorten time.sleep
        if fault.kind in ("reset", "lost"):  # the kernel answers with RST; after "lost" the request has been done
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise ConnectionResetError
        return reply

    def _fault(self, request: str) -> Fault | None:
        for fault in self.hub.faults:
            if fault.times and re.search(fault.pattern, request):
                fault.times -= 1
                return fault
        return None

    def _send(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def log_message(self, *_: object) -> None:
        """Silence: the log is ``hub.seen``."""
