"""A browser without a screen, a model without a mind, and pictures made to do harm, for the tests of the demo."""

from __future__ import annotations

import http.client
import io
import json
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from inlay.adapters.chat.reply import Reply
from inlay.recipes.demo.server import DemoServer

__all__ = ["BOUNDARY", "Answer", "Client", "Echo", "Opened", "bomb", "conversation", "form", "png", "resident", "until"]

Opened = Callable[..., "Client"]
"""What the fixture ``opened`` is: a model, limits and examples to a client of a server that runs."""

BOUNDARY = "----inlay"


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def error(self) -> str:
        return str(self.json["error"])


class Echo:
    """Stands in for a model: says what it was asked, as slowly as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[Any], dict[str, Any]]] = []
        self.go = threading.Event()
        self.go.set()
        self.fails: Exception | None = None
        self.inside = self.most_inside = 0

    def chat(self, messages: list[Any], **options: Any) -> Reply:
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        self.go.wait(10)
        self.inside -= 1
        self.asked.append((messages, options))
        if self.fails is not None:
            raise self.fails
        return Reply(messages[-1].text, tokens=1)


class Client:
    """A browser without a screen."""

    def __init__(self, server: DemoServer) -> None:
        self.port = server.server_port

    def call(self, method: str, path: str, body: bytes | None = None, headers: Any = ()) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def ask(
        self, text: str = "what is shown?", pictures: Sequence[bytes] = (), kind: str = "image/png", **more: Any
    ) -> Answer:
        turn = {"role": "user", "text": text, "pictures": len(pictures)}
        fields = [("conversation", json.dumps({"turns": [turn]}).encode()), *[("picture", data) for data in pictures]]
        fields += [(name, value.encode()) for name, value in more.items()]
        return self.post(form(dict(fields) if not pictures else fields, kind))

    def post(self, body: bytes, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call("POST", "/ask", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"} | named)


def form(fields: Any, kind: str = "image/png") -> bytes:
    rows = fields.items() if isinstance(fields, dict) else fields
    head = '--{}\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    file = f'; filename="../../etc/passwd"\r\nContent-Type: {kind}'
    parts = [head.format(BOUNDARY, name, file if name == "picture" else "").encode() + data for name, data in rows]
    return b"\r\n".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def conversation(turns: Any, **more: bytes) -> bytes:
    return form({"conversation": json.dumps({"turns": turns}).encode()} | more)


def png(size: tuple[int, int] = (8, 6), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (255, 0, 0)).save(buffer, options.pop("format", "PNG"), **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()
