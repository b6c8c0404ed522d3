"""Answers as OpenAI's objects: ``chat.completion``, ``chat.completion.chunk``, usage, log-probabilities.

https://platform.openai.com/docs/api-reference/chat/object. Media that the model generates stand in ``message.media``, a
list of parts in the form in which requests give media, with ``data:`` URIs; reasons for media that could not be made
stand in ``message.missing``. A client that sends the message back as it is continues the conversation.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from inlay.adapters.chat.reply import Reply
from inlay.adapters.conversation.messages import MadePart
from inlay.recipes.media_files.save import encoded
from inlay.recipes.serve.engine.job import Delta, Done, Started, TokenScore

__all__ = ["DONE", "Answer", "Completion", "sse"]

DONE = b"data: [DONE]\n\n"
"""The last event of a stream."""


@dataclass
class Answer:
    """One choice."""

    text: str = ""
    scores: list[TokenScore] = field(default_factory=list)
    media: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    tokens: int = 0
    reason: str | None = None

    def message(self) -> dict[str, Any]:
        """The message of the choice."""
        return {"role": "assistant", "content": self.text, "refusal": None} | self.extras()

    def extras(self) -> dict[str, Any]:
        """Generated media, where the answer has some."""
        found: dict[str, Any] = {"media": self.media} if self.media else {}
        return found | ({"missing": self.missing} if self.missing else {})


class Completion:
    """The answers to one request, collected from the events of its job.

    Args:
        model: name of the adapter.
        n: answers.
        scores: whether log-probabilities were asked for.
    """

    def __init__(self, model: str, n: int, *, scores: bool) -> None:
        self.id, self.created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        self.model, self.scores = model, scores
        self.answers = [Answer() for _ in range(n)]
        self.prompt_tokens = 0

    @property
    def complete(self) -> bool:
        """Whether all answers have ended."""
        return all(answer.reason is not None for answer in self.answers)

    @property
    def tokens(self) -> int:
        """Generated tokens of all answers."""
        return sum(answer.tokens for answer in self.answers)

    def take(self, event: Started | Delta | Done) -> list[dict[str, Any]]:
        """Take an event.

        Returns:
            The chunks that stream it.
        """
        if isinstance(event, Started):
            self.prompt_tokens = event.prompt_tokens
            first = {"role": "assistant", "content": "", "refusal": None}
            return [self._chunk(index, first) for index in range(len(self.answers))]
        answer = self.answers[event.index]
        if isinstance(event, Delta):
            answer.text += event.text
            answer.scores += event.scores
            return [self._chunk(event.index, {"content": event.text}, event.scores)]
        chunks = []
        if event.reply is not None:
            rest = _rest(event.reply.text, answer.text)
            answer.text = event.reply.text
            answer.media, answer.missing = _media(event.reply), list(event.reply.missing)
            if rest or answer.extras():
                chunks.append(self._chunk(event.index, ({"content": rest} if rest else {}) | answer.extras()))
        answer.tokens, answer.reason = event.tokens, event.reason
        return [*chunks, self._chunk(event.index, {}, reason=event.reason)]

    def document(self) -> dict[str, Any]:
        """The whole ``chat.completion``."""
        choices = [
            {
                "index": index,
                "message": answer.message(),
                "logprobs": self._logprobs(answer.scores),
                "finish_reason": answer.reason,
            }
            for index, answer in enumerate(self.answers)
        ]
        return self._head("chat.completion") | {"choices": choices, "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        """Tokens of the prompt, with the positions of its media, and of all answers, with their ends."""
        tokens = self.tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self.prompt_tokens + tokens,
        }

    def usage_chunk(self) -> dict[str, Any]:
        """The last chunk of a stream with ``include_usage``."""
        return self._head("chat.completion.chunk") | {"choices": [], "usage": self.usage()}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _chunk(
        self, index: int, delta: dict[str, Any], scores: Sequence[TokenScore] = (), reason: str | None = None
    ) -> dict[str, Any]:
        logprobs = self._logprobs(scores) if scores else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def _logprobs(self, scores: Iterable[TokenScore]) -> dict[str, Any] | None:
        if not self.scores:
            return None
        content = [
            _scored(score.text, score.log_prob) | {"top_logprobs": [_scored(*pair) for pair in score.top]}
            for score in scores
        ]
        return {"content": content, "refusal": None}


def sse(document: dict[str, Any]) -> bytes:
    r"""One server-sent event.

    Example:
        >>> sse({"a": "b"})
        b'data: {"a":"b"}\n\n'
    """
    return f"data: {json.dumps(document, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def _scored(text: str, log_prob: float) -> dict[str, Any]:
    """A token; without bytes if its text is only a part of a character."""
    held = None if "\ufffd" in text else list(text.encode())
    return {"token": text, "logprob": max(log_prob, -9999.0), "bytes": held}


def _rest(whole: str, sent: str) -> str:
    return whole[len(sent) :] if whole.startswith(sent) else ""


def _media(reply: Reply) -> list[dict[str, Any]]:
    parts = []
    for part in reply.parts:
        if isinstance(part, MadePart) and part.source is not None:
            file = encoded(part.source)
            url = f"data:{file.type};base64,{base64.b64encode(file.data).decode('ascii')}"
            kind = f"{part.modality}_url"
            parts.append({"type": kind, kind: {"url": url}})
    return parts
