"""Replies: what a model wrote as text and media, in the order in which it wrote them, and text while it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from inlay.adapters.generators import Made
from inlay.adapters.grammar import split
from inlay.adapters.language import LanguageModel
from inlay.adapters.layout import Layout
from inlay.adapters.messages import MadePart, Modality, Part, TextPart
from inlay.adapters.signals import Signals
from inlay.hub.errors import InlayError

__all__ = ["Reply", "ReplyError", "Run", "TextStream", "assemble", "read", "text_stream"]

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


def text_stream(
    tokenizer: Any, stop: Sequence[str], on_text: Callable[[str], None], rows: int, options: Mapping[str, Any]
) -> TextStream:
    """A stream for a call of transformers' ``generate`` with these options.

    Raises:
        ReplyError: several conversations, or beams, of which none is the answer before the end.
    """
    if rows != 1 or int(options.get("num_beams") or 1) != 1:
        raise ReplyError(
            f"words can be streamed of one conversation without beams, got {rows} conversations and num_beams="
            f"{options.get('num_beams') or 1}; leave on_text out"
        )
    return TextStream(tokenizer, stop, on_text)


class TextStream(BaseStreamer):
    """Hands on the words of one answer as they are written: no signal tokens, nothing from the stop text on.

    Args:
        tokenizer: of the language model, while the adapter is attached.
        stop: texts that end an answer.
        on_text: gets every new piece of text.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], on_text: Callable[[str], None]) -> None:
        self.tokenizer, self.stop, self.on_text = tokenizer, tuple(stop), on_text
        self.ids: list[int] = []
        self.sent = ""

    def put(self, value: Tensor) -> None:
        """New ids: the prompt first, which is empty where a model is given embeddings, then one at a time."""
        self.ids += value.flatten().tolist()
        text = self._text()
        # Half a character, and what may be the beginning of a stop text, wait for what follows.
        held = max((n for mark in self.stop for n in range(1, len(mark)) if text.endswith(mark[:n])), default=0)
        self._send(text[: len(text) - held].removesuffix("\ufffd"))

    def end(self) -> None:
        """Nothing follows."""
        self._send(self._text())

    def _text(self) -> str:
        text: str = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        for mark in self.stop:
            text = text.split(mark, 1)[0]
        return text.lstrip()

    def _send(self, text: str) -> None:
        if len(text) > len(self.sent) and text.startswith(self.sent):
            self.on_text(text[len(self.sent) :])
            self.sent = text
