"""Replies: what a model wrote as text and media, in the order in which it wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MadePart, Part, TextPart
from inlay.adapters.generators import Made
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.signal_grammar import split
from inlay.adapters.llm_parts.signal_tokens import Signals
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError

__all__ = ["Reply", "ReplyError", "Run", "assemble", "read"]

Run: TypeAlias = TextPart | Modality
"""A piece of an answer: words, or a medium that it asks for."""


class ReplyError(InlayError):
    """An answer cannot be given in the way that was asked for."""


@dataclass(frozen=True)
class Reply:
    """An answer."""

    text: str
    """All that it says in words."""
    media: tuple[Any, ...] = ()
    """Images (PIL), sounds and clips that the model made, if it can."""
    tokens: int = 0
    """Tokens generated."""
    parts: tuple[Part, ...] = ()
    """Words and media in the order of the answer; as the content of an assistant's turn they continue a conversation.
    A medium that could not be made has no source."""
    missing: tuple[str, ...] = ()
    """For each modality that the answer asks for and that could not be made: why not."""


def read(ids: Sequence[int], llm: LanguageModel, layout: Layout, signals: Signals) -> list[Run]:
    """A row of new tokens as words and modalities, up to the layout's stop text; words are stripped, none is empty."""
    found: list[Run] = []
    for run in split(ids, signals):
        if not isinstance(run, list):
            found.append(run)
            continue
        if text := layout.reply(llm.decode(run, stop=layout.stop)):
            found.append(TextPart(text))
    return found


def assemble(
    rows: Sequence[Sequence[Run]],
    made: Mapping[Modality, Sequence[Made]],
    missing: Mapping[Modality, str],
    tokens: Sequence[int],
) -> list[Reply]:
    """Replies from what was read and what was made.

    Args:
        rows: of :func:`read`, one for each reply.
        made: the media of each modality in reading order over all rows; none of a modality that could not be made.
        missing: modality to why it could not.
        tokens: how many each row has.
    """
    supplies = {modality: iter(media) for modality, media in made.items()}
    return [_assemble(runs, supplies, missing, count) for runs, count in zip(rows, tokens, strict=True)]


def _assemble(
    runs: Sequence[Run], supplies: Mapping[Modality, Iterator[Made]], missing: Mapping[Modality, str], tokens: int
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
    )
