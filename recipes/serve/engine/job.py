"""A job: one checked request on its way through the queue, and the events that it sends back."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from inlay.adapters.chat.reply import Reply
from inlay.adapters.conversation.messages import Message
from inlay.adapters.media.modality import Modality

__all__ = ["Delta", "Done", "Event", "Failed", "Job", "Sampling", "Started", "TokenScore"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the answers to a request are generated."""

    max_new_tokens: int
    temperature: float = 0.0
    """0 takes the most likely token."""
    top_p: float | None = None
    seed: int | None = None
    """Of sampled tokens and generated media; None for a new one."""
    n: int = 1
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    """Alternatives of each token whose log-probabilities are given; None for no log-probabilities."""
    beams: int = 1
    """More than 1 for beam search, whose text is sent when it is complete."""
    generation: Mapping[Modality, Mapping[str, Any]] = field(default_factory=dict)
    """Modality -> options of its generator that replace those of the adapter's recipe."""


@dataclass(frozen=True)
class TokenScore:
    """One token of an answer."""

    text: str
    log_prob: float
    """At temperature 1 over the whole vocabulary."""
    top: tuple[tuple[str, float], ...] = ()
    """The most likely tokens, with their log-probabilities."""


@dataclass(frozen=True)
class Started:
    """The prompt was accepted; its answers are being generated."""

    prompt_tokens: int


@dataclass(frozen=True)
class Delta:
    """New text of one answer."""

    index: int
    text: str
    scores: tuple[TokenScore, ...] = ()


@dataclass(frozen=True)
class Done:
    """The end of one answer."""

    index: int
    reason: Literal["stop", "length"]
    tokens: int
    reply: Reply | None = None
    """The whole answer of an adapter that can make media; otherwise the deltas are the answer."""


@dataclass(frozen=True)
class Failed:
    """The job ends without an answer."""

    error: Exception


Event: TypeAlias = Started | Delta | Done | Failed


@dataclass(eq=False)
class Job:
    """One request.

    ``emit`` is called by the engine's thread and must return at once.
    """

    name: str
    """Of the adapter."""
    conversation: tuple[Message, ...]
    sampling: Sampling
    emit: Callable[[Event], None]
    seed: int = field(init=False)
    _gone: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        given = self.sampling.seed
        self.seed = secrets.randbits(31) if given is None else abs(given)

    def cancel(self) -> None:
        """Drop the job, or end its answers at the next token."""
        self._gone.set()

    @property
    def cancelled(self) -> bool:
        """Whether the client has left."""
        return self._gone.is_set()
