"""The page on the application of ``inlay serve``: static files, facts, examples, and a login for browsers.

A fixed table of addresses, read at the start: no part of a request becomes a path. Questions go to
``/v1/chat/completions`` like the questions of any other client, with the same queue and the same limits.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, cast
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from inlay.recipes.demo.examples import Example
from inlay.recipes.serve.errors import ApiError
from inlay.recipes.serve.http_api.body import bounded_body
from inlay.recipes.serve.http_api.credentials import Credentials

__all__ = ["Page", "add_page"]

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FORM_BYTES = 4_000
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors "
)
_RIGHTS = "camera=(self), microphone=(self), display-capture=(), geolocation=(), payment=(), usb=()"
_WRONG = '<p class="trouble" role="alert">This is not the key.</p>'
_MESSAGE = "<!-- message -->"


@dataclass(frozen=True, kw_only=True)
class Page:
    """Content of the page."""

    about: Mapping[str, Any]
    """Facts, see :func:`inlay.recipes.demo.facts.about`."""
    examples: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    """Name of an adapter -> its examples."""
    frames: Sequence[str] = ()
    """Origins whose pages may show this one in a frame, such as ``https://huggingface.co``."""

    def headers(self) -> dict[str, str]:
        """Headers of every HTML page."""
        policy = _POLICY + (" ".join(self.frames) or "'none'")
        return {"Content-Security-Policy": policy, "Permissions-Policy": _RIGHTS}


def add_page(app: FastAPI, page: Page) -> None:
    """Add the page to an application.

    Args:
        app: of :func:`inlay.recipes.serve.http_api.app.create_app`.
        page: its content.
    """
    headers, folder = page.headers(), files("inlay.recipes.demo") / "page"
    texts = {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}
    login = texts.pop("login.html").decode()
    for name, body in texts.items():
        kind = _TYPES[f".{name.rpartition('.')[2]}"]
        more = headers if kind == "text/html" else {}
        app.get("/" if name == "index.html" else f"/{name}")(_fixed(body, kind, more))

    first = {example: name for name, own in reversed(list(page.examples.items())) for example in reversed(own)}
    examples = [(name, example) for example, name in reversed(first.items())]  # of runs on the same data each once
    for place, (_, example) in enumerate(examples):
        for number, (_, file) in enumerate(example.media):
            app.get(f"/examples/{place}/{number}")(_fixed(file.data, file.type, {}))
    listed = [
        {
            "adapter": name,
            "question": example.question,
            "media": [
                {"kind": kind, "type": file.type, "url": f"/examples/{place}/{number}"}
                for number, (kind, file) in enumerate(example.media)
            ],
        }
        for place, (name, example) in enumerate(examples)
    ]
    facts = {**page.about, "examples": listed}

    @app.get("/about")
    async def about() -> JSONResponse:
        return JSONResponse(facts)

    credentials = cast("Credentials | None", app.state.credentials)
    if credentials is not None:
        _add_login(app, credentials, login, headers)


def _fixed(body: bytes, kind: str, headers: Mapping[str, str]) -> Callable[[], Coroutine[Any, Any, Response]]:
    async def send() -> Response:
        return Response(body, media_type=kind, headers=dict(headers))

    return send


def _add_login(app: FastAPI, credentials: Credentials, login: str, headers: Mapping[str, str]) -> None:
    def form(message: str, status: int) -> Response:
        return Response(login.replace(_MESSAGE, message), status, dict(headers), "text/html")

    @app.get("/login")
    async def show() -> Response:
        return form("", 200)

    @app.post("/login")
    async def enter(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            raise ApiError("expected the login form", status=415)
        body = await bounded_body(request, _FORM_BYTES)
        try:
            given = parse_qs(body.decode(), max_num_fields=4).get("key", [""])[0]
        except ValueError:
            given = ""
        if not credentials.is_key(given.strip()):
            return form(_WRONG, 401)
        secure = request.headers.get("origin", "").startswith("https://")
        return RedirectResponse("/", 303, {"Set-Cookie": credentials.begin_session(secure=secure)})

    @app.post("/logout")
    async def leave(request: Request) -> Response:
        cookie = credentials.end_session(request.headers.get("cookie", ""))
        return RedirectResponse("/login", 303, {"Set-Cookie": cookie})
