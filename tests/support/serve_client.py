"""A server in a thread, and a small client on the standard library, which sends what no honest client would."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from PIL import Image

Body = Mapping[str, Any] | bytes


class Answered(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.json["choices"][0]["message"]["content"]

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


class Served:
    """A running application and calls of it."""

    def __init__(self, app: Any, url: str) -> None:
        self.app, self.url = app, url
        self.host, _, port = url.removeprefix("http://").removesuffix("/v1").rpartition(":")
        self.port = int(port)

    def call(self, path: str, body: Body | None = None, **headers: str) -> Answered:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        request = urllib.request.Request(f"{self.url.removesuffix('/v1')}{path}", data, sent)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
                return Answered(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            return Answered(error.code, dict(error.headers), error.read())

    def ask(self, content: Any, model: str = "a", **fields: Any) -> Answered:
        return self.call("/v1/chat/completions", request(content, model, **fields))

    def stream(self, content: Any, model: str = "a", **fields: Any) -> list[Any]:
        """The events of a stream; the last is the text ``[DONE]``."""
        answered = self.ask(content, model, stream=True, **fields)
        assert answered.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in answered.body.decode().split("\n\n") if line]
        return [event if event == "[DONE]" else json.loads(event) for event in events]

    def open(self, body: Body | None = None, length: int | None = None) -> socket.socket:
        """A connection on which a request was begun: its headers, if there is a body, and the body."""
        connection = socket.create_connection((self.host, self.port), timeout=60)
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(data) if length is None else length}\r\n\r\n"
            )
            connection.sendall(head.encode() + data)
        return connection

    def until(self, holds: Callable[[], bool], seconds: float = 120.0) -> None:
        """Wait until something holds; the time only bounds a failure."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.01)

    def together(self, *calls: Callable[[], Answered]) -> list[Answered]:
        """Answers to requests that all wait in the queue before the first of them is answered."""
        engine = self.app.state.chat.engine
        with ThreadPoolExecutor(len(calls) + 1) as pool:
            with engine.models.model.held():
                first = pool.submit(self.ask, "first", max_tokens=1)
                self.until(lambda: self.held == 1 and not engine.waiting and not self.app.state.chat.reading)
                made = [pool.submit(call) for call in calls]
                self.until(lambda: engine.waiting == len(calls))
            assert first.result().status == 200
            return [one.result() for one in made]

    @property
    def held(self) -> int:
        return self.app.state.chat.held


def request(content: Any, model: str = "a", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 8} | fields


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def shown(picture: Image.Image | str, text: str = "what is shown ?") -> list[dict[str, Any]]:
    url = picture if isinstance(picture, str) else data_url(png(picture))
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]


def serving(app: Any, limits: Any) -> Iterator[Served]:
    """The application on a free port, in uvicorn."""
    from inlay.recipes.serve.http_api.server import bound, server_of, url_of

    with bound("127.0.0.1", 0) as listening:
        server = server_of(app, limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Served(app, url_of(listening))
        finally:
            server.should_exit = True
            thread.join()
