"""Replies: the text and media of an answer, in the order of the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MadePart, Part, TextPart
from inlay.adapters.generators import Made
from inlay.adapters.language.generation.stopping import FinishReason as Ended
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.signal_grammar import split
from inlay.adapters.llm_parts.signal_tokens import Signals
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError

__all__ = ["FinishReason", "Reply", "ReplyError", "Run", "assemble", "finish_reason", "read"]

Run: TypeAlias = TextPart | Modality
"""A piece of an answer: text, or the modality of a requested medium."""
FinishReason: TypeAlias = Literal["stop", "length", "media"]


class ReplyError(InlayError):
    """The requested kind of answer is not possible with these arguments."""


@dataclass(frozen=True)
class Reply:
    """An answer."""

    text: str
    """All words of the answer."""
    media: tuple[Any, ...] = ()
    """Generated images (PIL), sounds and clips."""
    tokens: int = 0
    """Generated tokens."""
    parts: tuple[Part, ...] = ()
    """Text and media in the order of the answer, usable as the content of an assistant's turn to continue the
    conversation. A medium that could not be generated has no source."""
    missing: tuple[str, ...] = ()
    """Modality -> the reason why a requested medium could not be generated."""
    finish_reason: FinishReason = "stop"
    """``stop``: the model ended its turn; ``media``: it ended its turn, and the answer requests media; ``length``: the
    answer was cut off at ``max_new_tokens``, or at the end of the context."""


def finish_reason(ended: Ended, asks_for_media: bool) -> FinishReason:
    """The finish reason of a reply."""
    return "media" if ended == "stop" and asks_for_media else ended


def read(ids: Sequence[int], llm: LanguageModel, layout: Layout, signals: Signals, stop: Sequence[str]) -> list[Run]:
    """Split a row of new tokens, up to a stop text, into texts and modalities; texts are stripped and not empty."""
    found: list[Run] = []
    for run in split(ids, signals):
        if not isinstance(run, list):
            found.append(run)
            continue
        if text := layout.reply(llm.decode(run, stop=stop)):
            found.append(TextPart(text))
    return found


def assemble(
    rows: Sequence[Sequence[Run]],
    made: Mapping[Modality, Sequence[Made]],
    missing: Mapping[Modality, str],
    tokens: Sequence[int],
    ended: Sequence[Ended],
) -> list[Reply]:
    """Build replies from texts, modalities and generated media.

    Args:
        rows: results of :func:`read`, one for each reply.
        made: the media of each modality in reading order over all rows; without modalities that could not be generated.
        missing: modality -> the reason why it could not be generated.
        tokens: number of generated tokens of each row.
        ended: the reason why generation of each row ended.
    """
    supplies = {modality: iter(media) for modality, media in made.items()}
    return [
        _assemble(runs, supplies, missing, count, end) for runs, count, end in zip(rows, tokens, ended, strict=True)
    ]


def _assemble(
    runs: Sequence[Run],
    supplies: Mapping[Modality, Iterator[Made]],
    missing: Mapping[Modality, str],
    tokens: int,
    ended: Ended,
) -> Reply:
    parts: list[Part] = []
    for run in runs:
        if isinstance(run, TextPart):
            parts.append(run)
        else:
            parts.append(MadePart(run, source=next(supplies[run]) if run in supplies else None))
    return Reply(
        text=" ".join(part.text for part in parts if isinstance(part, TextPart)),
        media=tuple(part.source for part in parts if isinstance(part, MadePart) and part.source is not None),
        tokens=tokens,
        parts=tuple(parts),
        missing=tuple(why for modality, why in missing.items() if modality in runs),
        finish_reason=finish_reason(ended, any(not isinstance(run, TextPart) for run in runs)),
    )
