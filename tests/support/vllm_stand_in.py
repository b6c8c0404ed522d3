"""A server that speaks vLLM's wire format of prompt embeddings and answers with a real language model of ours."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.language.model import LanguageModel

__all__ = ["StandIn", "served"]


class StandIn:
    """What the server has, and what it was asked.

    Args:
        models: name -> the language model that answers; the first is the base, all others are its LoRA.
        flag: whether it was started with ``--enable-prompt-embeds``.
        width: of the embeddings that it takes.
        key: the API key that it asks for.
        token_ids: whether it knows ``return_token_ids``.
    """

    def __init__(
        self,
        models: Mapping[str, LanguageModel],
        *,
        flag: bool = True,
        width: int = 128,
        key: str | None = None,
        token_ids: bool = True,
    ) -> None:
        self.models, self.flag, self.width, self.key, self.token_ids = dict(models), flag, width, key, token_ids
        self.asked: list[dict[str, Any]] = []
        self.prompts: list[Tensor] = []

    def listing(self) -> dict[str, Any]:
        """As ``/v1/models``."""
        first = next(iter(self.models))
        held = [{"id": name, "object": "model", "parent": None if name == first else first} for name in self.models]
        return {"object": "list", "data": held}

    def answer(self, body: dict[str, Any]) -> tuple[int, list[dict[str, Any]] | str]:
        """Status, and the choices or an error."""
        if body.get("model") not in self.models:
            return 404, f"The model `{body.get('model')}` does not exist."
        if not self.flag:
            return 400, "You must set `--enable-prompt-embeds` to input `prompt_embeds`."
        tensor = torch.load(io.BytesIO(base64.b64decode(body["prompt_embeds"], validate=True)), weights_only=True)
        if not isinstance(tensor, Tensor) or tensor.dim() != 2 or tensor.dtype != torch.float32:
            return 400, "prompt_embeds must be of shape (seq_len, hidden_size)"
        if tensor.shape[1] != self.width:
            return 400, f"prompt_embeds has hidden size {tensor.shape[1]}, expected {self.width}"
        self.asked.append({name: value for name, value in body.items() if name != "prompt_embeds"})
        self.prompts.append(tensor)
        llm = self.models[body["model"]]
        options: dict[str, Any] = {"do_sample": False}
        if body["temperature"] > 0:
            torch.manual_seed(body["seed"])
            options = {"do_sample": True, "temperature": body["temperature"], "top_p": body["top_p"]}
        written = llm.generate(
            tensor[None],
            torch.ones(1, len(tensor), dtype=torch.long),
            stop=body["stop"],
            stop_ids=body["stop_token_ids"],
            max_new_tokens=body["max_tokens"],
            num_return_sequences=body["n"],
            **options,
        )
        ids = [{"token_ids": row} if self.token_ids else {} for row in written.rows]
        texts = [llm.decode(row, stop=body["stop"]) for row in written.rows]
        choices = zip(texts, written.finish, ids, strict=True)
        return 200, [
            {"index": index, "text": text, "finish_reason": why, **held}
            for index, (text, why, held) in enumerate(choices)
        ]


@contextmanager
def served(stand_in: StandIn) -> Iterator[str]:
    """A context with the address of the running server."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self._allowed():
                self._send(200, stand_in.listing())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self._allowed():
                return
            status, choices = stand_in.answer(body)
            if isinstance(choices, str):
                self._send(status, {"error": {"message": choices, "code": status}})
            elif body.get("stream"):
                self._stream(choices[0])
            else:
                self._send(status, {"object": "text_completion", "choices": choices})

        def _allowed(self) -> bool:
            right = stand_in.key is None or self.headers.get("Authorization") == f"Bearer {stand_in.key}"
            if not right:
                self._send(401, {"error": "Unauthorized"})
            return right

        def _send(self, status: int, held: dict[str, Any]) -> None:
            data = json.dumps(held).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, choice: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            ids = choice["token_ids"]
            for index, token in enumerate(ids):
                end = choice["finish_reason"] if index == len(ids) - 1 else None
                event = {"choices": [{"index": 0, "token_ids": [token], "finish_reason": end}]}
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
