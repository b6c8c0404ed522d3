"""``POST /v1/chat/completions``: from the request over the queue to the response, whole or streamed."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from inlay.adapters.chat.replies import check_media_options
from inlay.hub.errors import InlayError
from inlay.recipes.serve.engine.job import Delta, Done, Event, Failed, Job, Sampling
from inlay.recipes.serve.engine.models import makes
from inlay.recipes.serve.engine.worker import Engine
from inlay.recipes.serve.errors import ApiError
from inlay.recipes.serve.http_api.body import bounded_body
from inlay.recipes.serve.http_api.metrics import Metrics
from inlay.recipes.serve.http_api.response import DONE, Completion, sse
from inlay.recipes.serve.limits import Limits
from inlay.recipes.serve.request.conversation import conversation
from inlay.recipes.serve.request.media import MediaAccess, MediaReader
from inlay.recipes.serve.request.schema import ChatRequest, read_request

__all__ = ["Chat"]

T = TypeVar("T")

_RETRY = 2  # seconds, for clients that find the queue full
_GONE = 499  # the status that nginx logs for a client that left


class Chat:
    """Answers requests; at most ``limits.accepted`` are held at once, from before their bodies are read.

    Args:
        engine: answers the jobs.
        limits: of requests.
        access: media sources that requests may name.
        metrics: count the requests.
        temperature: of requests that name none.
    """

    def __init__(
        self, engine: Engine, limits: Limits, access: MediaAccess, metrics: Metrics, temperature: float = 0.0
    ) -> None:
        self.engine, self.limits, self.access, self.metrics = engine, limits, access, metrics
        self.temperature = temperature
        self.held = 0
        """Requests that are read, waiting or answered."""
        self.reading = 0
        """Requests that are read."""

    async def respond(self, request: Request) -> Response:
        """The response to one request.

        Raises:
            ApiError: the request is refused, or its answer failed.
        """
        exchange = _Exchange(self)
        try:
            response = await exchange.respond(request)
        except BaseException as error:
            exchange.close(error.status if isinstance(error, ApiError) else 500)
            raise
        if not isinstance(response, _Stream):
            exchange.close(response.status_code)
        return response

    def prepared(self, body: bytes) -> tuple[ChatRequest, Sampling, Any]:
        """A request with its conversation; decodes the media, so it is run in a thread."""
        asked = read_request(body)
        self.engine.models.adapter(asked.model)
        sampling = self._sampling(asked)
        try:
            check_media_options(sampling.generation, self.engine.models.backbone)
        except InlayError as error:
            raise ApiError(f"generation: {error}", param="generation") from None
        encoders = self.engine.models.backbone.encoders
        reader = MediaReader(self.access, self.limits, dict(encoders.items()).get("video"))
        return asked, sampling, conversation(asked.messages, reader, self.limits)

    def _sampling(self, asked: ChatRequest) -> Sampling:
        given = asked.max_completion_tokens or asked.max_tokens
        most = min(self.limits.choices, self.limits.batch)
        temperature = self.temperature if asked.temperature is None else asked.temperature
        beams, media = asked.num_beams or 1, asked.generation or {}
        bounded = [("max_tokens", given, self.limits.most_tokens), ("n", asked.n, most)]
        bounded += [("num_beams", beams, self.limits.beams)]
        bounded += [(f"generation.{name}.steps", own.steps, self.limits.steps) for name, own in media.items()]
        for name, value, limit in bounded:
            if value is not None and value > limit:
                raise ApiError(f"{name}: expected at most {limit}, got {value}", param=name, code="invalid_value")
        if beams > 1 and (temperature > 0 or (asked.n or 1) > 1 or asked.logprobs):
            raise ApiError(
                "num_beams: beam search is neither sampled nor scored and gives one answer; expected temperature 0, "
                "n 1 and no logprobs",
                param="num_beams",
            )
        made = makes(self.engine.models.adapter(asked.model), self.engine.models.backbone)
        for name in media:
            if name not in made:
                raise ApiError(
                    f"generation.{name}: {asked.model!r} generates {', '.join(made) or 'no media'}",
                    param=f"generation.{name}",
                )
        return Sampling(
            max_new_tokens=given or self.limits.new_tokens,
            temperature=temperature,
            top_p=asked.top_p,
            seed=asked.seed,
            n=asked.n or 1,
            stop=asked.stops,
            top_logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
            beams=beams,
            generation={name: own.model_dump(exclude_none=True) for name, own in media.items()},
        )


class _Exchange:
    """One request on its way, which holds a place until it is closed."""

    def __init__(self, chat: Chat) -> None:
        self.chat, self.start = chat, time.perf_counter()
        if chat.held >= chat.limits.accepted:
            chat.metrics.requests.labels("", "429").inc()
            raise ApiError(
                "The server is busy; try again in a few seconds",
                status=429,
                code="rate_limit_exceeded",
                retry_after=_RETRY,
            )
        chat.held += 1
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        chat.reading += 1
        self.job: Job | None = None
        self.completion: Completion | None = None
        self.name = ""
        self._first = self._closed = False

    def close(self, status: int) -> None:
        """Give the place back, and end the job if it still runs; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        chat = self.chat
        chat.held -= 1
        if self.job is None:
            chat.reading -= 1
        else:
            self.job.cancel()
        chat.metrics.requests.labels(self.name, str(status)).inc()
        chat.metrics.latency.labels(self.name).observe(time.perf_counter() - self.start)
        if self.completion is not None:
            chat.metrics.prompt_tokens.labels(self.name).inc(self.completion.prompt_tokens)
            chat.metrics.tokens.labels(self.name).inc(self.completion.tokens)

    async def respond(self, request: Request) -> Response:
        limits = self.chat.limits
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise ApiError("expected the header Content-Type: application/json", status=415)
        try:
            async with asyncio.timeout(limits.body_seconds):
                body = await bounded_body(request, limits.request_bytes)
        except TimeoutError:
            raise ApiError(f"the request did not arrive within {limits.body_seconds:.0f} s", status=408) from None
        except ClientDisconnect:
            raise ApiError("the client has left", status=_GONE) from None
        asked, sampling, messages = await run_in_threadpool(self.chat.prepared, body)
        loop, self.name = asyncio.get_running_loop(), asked.model

        def emit(event: Event) -> None:
            with suppress(RuntimeError):  # the loop is closed: the server has stopped
                loop.call_soon_threadsafe(self.events.put_nowait, event)

        self.job = Job(asked.model, messages, sampling, emit)
        completion = self.completion = Completion(asked.model, sampling.n, scores=sampling.top_logprobs is not None)
        self.chat.reading -= 1
        self.chat.engine.submit(self.job)
        # The first event says whether the request is answered, which decides about the status of a stream too.
        first = await _unless_gone(request, self._next())
        chunks = completion.take(first)
        if asked.stream:
            usage = asked.stream_options is not None and asked.stream_options.include_usage
            return _Stream(self, self._streamed(completion, chunks, usage=usage))
        await _unless_gone(request, self._rest(completion))
        return JSONResponse(completion.document())

    async def _next(self) -> Any:
        """The next event.

        Raises:
            ApiError: the job failed.
        """
        event = await self.events.get()
        if isinstance(event, Failed):
            raise _refusal(event.error)
        if not self._first and isinstance(event, (Delta, Done)):
            self._first = True
            self.chat.metrics.first.labels(self.name).observe(time.perf_counter() - self.start)
        return event

    async def _rest(self, completion: Completion) -> None:
        while not completion.complete:
            completion.take(await self._next())

    async def _streamed(
        self, completion: Completion, chunks: list[dict[str, Any]], *, usage: bool
    ) -> AsyncIterator[bytes]:
        blank = {"usage": None} if usage else {}
        try:
            while True:
                for chunk in chunks:
                    yield sse(chunk | blank)
                if completion.complete:
                    break
                chunks = completion.take(await self._next())
        except ApiError as error:  # the status has been sent
            yield sse(error.document())
            self.close(error.status)
            return
        if usage:
            yield sse(completion.usage_chunk())
        yield DONE


class _Stream(StreamingResponse):
    """A response that closes its exchange however it ends, also if the client left before the first byte."""

    def __init__(self, exchange: _Exchange, content: AsyncIterator[bytes]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self.exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            completion = self.exchange.completion
            self.exchange.close(200 if completion is not None and completion.complete else _GONE)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of some work; it is cancelled when the client leaves."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError("the client has left", status=_GONE)
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refusal(error: Exception) -> ApiError:
    """The error of a job as a response: 400 for input that the model cannot take, otherwise 500."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InlayError):
        return ApiError(str(error), param="messages")
    traceback.print_exception(error, file=sys.stderr)
    return ApiError("The server had an error while it answered the request.", status=500)
