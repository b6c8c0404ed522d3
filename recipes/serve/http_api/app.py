"""The application: ``/v1/models``, ``/v1/chat/completions``, ``/health`` and ``/metrics``, on FastAPI."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from inlay.recipes.serve.engine.models import Models
from inlay.recipes.serve.engine.worker import Engine
from inlay.recipes.serve.errors import ApiError
from inlay.recipes.serve.http_api.chat import Chat
from inlay.recipes.serve.http_api.credentials import Credentials
from inlay.recipes.serve.http_api.guard import Doors, Guard
from inlay.recipes.serve.http_api.metrics import Metrics
from inlay.recipes.serve.limits import Limits
from inlay.recipes.serve.request.media import MediaAccess

__all__ = ["create_app"]

_ADDRESSES = ("GET /v1/models", "GET /v1/models/NAME", "POST /v1/chat/completions", "GET /health", "GET /metrics")


def create_app(
    models: Models,
    limits: Limits | None = None,
    *,
    access: MediaAccess | None = None,
    key: str | None = None,
    doors: Doors | None = None,
    temperature: float = 0.0,
) -> FastAPI:
    """The application for served adapters; its engine starts and stops with it.

    Args:
        models: the adapters.
        limits: of requests, media, answers, queue and batches.
        access: media sources that requests may name.
        key: the API key; None for none.
        doors: host names, proxies, and paths that need no key; without it, this machine alone may call the server.
        temperature: of requests that name none.
    """
    limits, metrics = limits or Limits(), Metrics()
    engine = Engine(models, limits, observe=metrics.batches.observe, coming=lambda: chat.reading > 0)
    chat = Chat(engine, limits, access or MediaAccess(), metrics, temperature)
    created = int(time.time())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await run_in_threadpool(engine.stop)

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    credentials = None if key is None else Credentials(key)
    app.add_middleware(Guard, doors=doors or Doors(), credentials=credentials, send_seconds=limits.send_seconds)
    app.state.chat, app.state.credentials = chat, credentials

    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.document(), error.status, headers=error.headers)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        text = f"Invalid URL ({request.method} {request.url.path[:200]}); expected one of {', '.join(_ADDRESSES)}"
        return JSONResponse(ApiError(text, status=error.status_code).document(), error.status_code)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        traceback.print_exception(error, file=sys.stderr)
        return JSONResponse(ApiError("The server had an error.", status=500).document(), 500)

    @app.get("/v1/models")
    async def listed() -> dict[str, Any]:
        return {"object": "list", "data": [_card(name, created) for name in models.adapters]}

    @app.get("/v1/models/{name:path}")
    async def one(name: str) -> dict[str, Any]:
        models.adapter(name)
        return _card(name, created)

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        return await chat.respond(request)

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok" if engine.alive else "stopped"}, 200 if engine.alive else 503)

    @app.get("/metrics")
    async def figures() -> Response:
        metrics.waiting.set(engine.waiting)
        metrics.held.set(chat.held)
        return Response(metrics.page(), media_type=CONTENT_TYPE_LATEST)

    return app


def _card(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "inlay"}
