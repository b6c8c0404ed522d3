"""The wire format of prompt embeddings: ``/v1/completions`` of vLLM with ``prompt_embeds``.

``prompt_embeds`` is base64 of ``torch.save`` of a tensor ``[positions, width]``. The server has the bare language model
and was started with ``--enable-prompt-embeds``; a LoRA is chosen by the name of the model.
https://docs.vllm.ai/en/stable/features/prompt_embeds/
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from torch import Tensor

from inlay.hub.errors import InlayError

__all__ = ["Served", "ServerError", "VllmClient", "encoded"]

_TIMEOUT = 600
"""Seconds without a byte from the server."""
_LONGEST = 64 << 20
"""Most bytes of an answer."""


class ServerError(InlayError):
    """A server does not answer, or refuses a request."""


@dataclass(frozen=True)
class Served:
    """A model that a server offers."""

    name: str
    parent: str | None = None
    """The base model, if this is a LoRA."""


def encoded(embeddings: Tensor) -> str:
    """Prompt embeddings ``[positions, width]`` as vLLM reads them."""
    held = io.BytesIO()
    torch.save(embeddings.detach().cpu().contiguous().clone(), held)  # a view would take its whole storage along
    return base64.b64encode(held.getvalue()).decode("ascii")


class VllmClient:
    """A vLLM server.

    The environment variable ``VLLM_API_KEY`` has the key of a server that asks for one.

    Args:
        url: address without a path, such as ``http://127.0.0.1:8000``.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def models(self) -> list[Served]:
        """The models that the server offers.

        Raises:
            ServerError: it does not answer.
        """
        with self._opened("/v1/models") as response:
            held = self._json(response.read(_LONGEST))
        try:
            return [Served(str(entry["id"]), entry.get("parent")) for entry in held["data"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ServerError(
                f"{self.url}/v1/models: expected a list of models as of vLLM, got {held!r:.200}"
            ) from error

    def complete(self, embeddings: Tensor, fields: Mapping[str, Any]) -> dict[str, Any]:
        """One completion.

        Args:
            embeddings: ``[positions, width]``.
            fields: further fields of the request, ``model`` among them.

        Returns:
            The answer of the server.

        Raises:
            ServerError: it does not answer, or refuses.
        """
        with self._opened("/v1/completions", {**fields, "prompt_embeds": encoded(embeddings)}) as response:
            return self._json(response.read(_LONGEST))

    def stream(self, embeddings: Tensor, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """One completion in pieces, as the server generates them; see :meth:`complete`."""
        body = {**fields, "prompt_embeds": encoded(embeddings), "stream": True}
        with self._opened("/v1/completions", body) as response:
            for line in response:
                event = line.decode("utf-8", errors="replace").strip()
                if event == "data: [DONE]":
                    return
                if event.startswith("data: "):
                    held = self._json(event.removeprefix("data: ").encode())
                    if "error" in held:
                        raise ServerError(f"{self.url}: the server stopped: {held['error']!r:.300}")
                    yield held
        raise ServerError(f"{self.url}: the server closed the connection before the end of the answer")

    @contextmanager
    def _opened(self, path: str, body: Mapping[str, Any] | None = None) -> Iterator[Any]:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("VLLM_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data=data, headers=headers)  # noqa: S310 - the options judge the scheme
        try:
            with urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
                yield response
        except HTTPError as error:
            raise ServerError(self._refusal(path, error)) from error
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ServerError(
                f"{self.url}{path}: no server answers there ({reason}); start one: vllm serve MODEL "
                "--enable-prompt-embeds"
            ) from error

    def _refusal(self, path: str, error: HTTPError) -> str:
        """An error status of the server as text, with advice."""
        said = " ".join(error.read(4096).decode("utf-8", errors="replace").split())
        hint = ""
        if "enable-prompt-embeds" in said:
            hint = "; start the server with --enable-prompt-embeds"
        elif error.code in (401, 403):
            hint = "; give the server's key in the environment variable VLLM_API_KEY"
        elif "embed" in said or "hidden" in said or "shape" in said:
            hint = "; the server has to run the language model that the adapter was trained on"
        return f"{self.url}{path}: the server refuses ({error.code}): {said[:300]}{hint}"

    def _json(self, text: bytes) -> dict[str, Any]:
        try:
            held = json.loads(text)
        except ValueError as error:
            raise ServerError(f"{self.url}: expected JSON, got {text[:100]!r}") from error
        if not isinstance(held, dict):
            raise ServerError(f"{self.url}: expected a JSON object, got {text[:100]!r}")
        return held
