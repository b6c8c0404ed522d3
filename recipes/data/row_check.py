"""Checks whether rows fit the context of the model, before the first step.

A token of text has at least one byte, so most rows fit by their number of bytes alone, which is known from the first
check of the data. The texts of the others are tokenised in batches, and rows near the context length are encoded
exactly as in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.compatibility.digest import tokenizer_digest
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import Message, TextPart, made_of, media_of
from inlay.adapters.conversation.segments import TooLongError
from inlay.hub.errors import InlayError
from inlay.recipes.data.rows.sample import Sample, conversations_of
from inlay.recipes.data.rows.tables.facts import MODALITIES
from inlay.recipes.data.rows.tables.samples import Samples
from inlay.recipes.data.rows.tables.sequences import Joined

__all__ = ["RowCheck", "TooLong"]

_LONGEST = 256
"""Rows that are tokenised to find the longest."""
_PER_TURN = 8
"""Spare tokens of a turn beyond its bytes and the template: white space that a tokenizer adds."""


@dataclass(frozen=True)
class _Overhead:
    """The number of positions that a layout adds to the texts."""

    first: int
    """For the first question with its answer."""
    further: int
    """For each further question with its answer."""


class TooLong(str):
    """A problem of a row that is too long."""


class RowCheck:
    """Checks whether rows can be encoded for a layout.

    Args:
        model: the attached model, with tokenizer and context length.
        layout: the layout of the rows.
        generation: whether rows end where the model's answer begins.
    """

    def __init__(self, model: AttachedModel, layout: Layout, *, generation: bool = False) -> None:
        self.model, self.layout, self.generation = model, layout, generation
        tilers = model.tilers(layout)
        self.most = {name: tilers[name].largest() if name in tilers else n for name, n in model.tokens.items()}
        """Modality -> the most tokens of a medium."""
        self.overhead = self._measure()
        self.cut = 0
        """Rows that were cut, see :class:`~inlay.adapters.core.encode.Limit`."""

    def problems(self, rows: Sequence[Sequence[Message]]) -> list[str]:
        """Why each row cannot be encoded, a :class:`TooLong` if it is its length; empty if it can."""
        told = [""] * len(rows)
        usual = [self._usual(row) for row in rows]
        unsure = [n for n, row in enumerate(rows) if not (usual[n] and self._fits(row, _bytes(row)))]
        sizes = self._tokens([rows[n] for n in unsure if usual[n]])
        for number in unsure:
            if not (usual[number] and self._fits(rows[number], next(sizes))):
                told[number] = self._exact(rows[number])
        return told

    def certain(self, samples: Samples) -> NDArray[np.bool_]:
        """Which samples certainly fit, by the number of bytes of their texts alone."""
        context, known = self._context(), self.most
        if self.overhead is None:
            return np.zeros(len(samples), bool)
        messages = samples.column("messages")
        length = self.overhead.first + self.overhead.further * (messages // 2) + _PER_TURN * messages
        length += samples.column("bytes")
        usual = samples.column("unusual") == 0
        for modality in MODALITIES:
            media = samples.column(f"input_{modality}")
            length += media * known.get(modality, 0)
            usual &= (media == 0) | (modality in known)
        fits: NDArray[np.bool_] = usual if context is None else usual & (length <= context)
        return fits

    def facts(self) -> list[Any]:
        """Everything that decides whether a row can be encoded, as plain values."""
        llm, tokens = self.model.backbone.llm, dict(self.model.tokens)
        made = {modality: list(ids) for modality, ids in self.model.adapter.signals.ids.items()}
        return [
            repr(self.layout),
            self.generation,
            tokens,
            made,
            repr(self.model.limit),
            llm.context,
            tokenizer_digest(llm.tokenizer),
        ]

    def _exact(self, row: Sequence[Message]) -> str:
        try:
            encoded = self.model.encode(row, layout=self.layout, generation=self.generation)
        except InlayError as error:
            return TooLong(error) if isinstance(error, TooLongError) else str(error)
        self.cut += encoded.cut > 0
        return ""

    def _usual(self, row: Sequence[Message]) -> bool:
        """Whether a row has only text and known media, and an answer in every turn."""
        turns = [message for message in row if message.role != "system"]
        known = all(part.modality in self.model.tokens for part in media_of(row))
        answered = all(message.text.strip() for message in turns if message.role == "assistant")
        return self.overhead is not None and len(turns) == len(row) and known and answered and not made_of(row)

    def _fits(self, row: Sequence[Message], size: int) -> bool:
        """Whether a usual row whose texts have at most `size` tokens fits into the context."""
        context = self._context()
        if context is None or self.overhead is None:
            return context is None
        positions = self.overhead.first + self.overhead.further * (len(row) // 2) + _PER_TURN * len(row)
        return positions + size + sum(self.most[part.modality] for part in media_of(row)) <= context

    def longest_text(self, samples: Sequence[Sample]) -> int:
        """An upper limit of the positions of a row beside its media, from the rows with the most bytes; 0 for no rows.

        A token has at least one byte, and about four, so the row with the most tokens is among these.
        """
        sizes = _sizes(samples)
        longest = np.argsort(sizes)[::-1][:_LONGEST]
        chosen = [messages for place in longest for messages in conversations_of(samples[int(place)])]
        first, further = (0, 0) if self.overhead is None else (self.overhead.first, self.overhead.further)
        texts = zip(chosen, self._tokens(chosen), strict=True)
        return max((size + first + further * max(0, len(row) // 2 - 1) for row, size in texts), default=0)

    def _context(self) -> int | None:
        """The most positions of a row that is not cut; None for no limit."""
        limits = (self.model.backbone.llm.context, None if self.generation else self.model.limit.positions)
        return min((limit for limit in limits if limit is not None), default=None)

    def _tokens(self, rows: Sequence[Sequence[Message]]) -> Iterator[int]:
        """The number of text tokens of each row, each text tokenised on its own."""
        texts = [message.text for row in rows for message in row]
        if not texts:
            return iter(())
        ids = self.model.backbone.llm.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        counts = iter([len(own) for own in ids])
        return iter([sum(next(counts) for _ in row) for row in rows])

    def _measure(self) -> _Overhead | None:
        """Measured with one and two short questions; None if the layout cannot encode them."""
        asked, said = Message("user", (TextPart("a"),)), Message("assistant", (TextPart("b"),))
        end = (asked,) if self.generation else (asked, said)
        try:
            one, two = (
                len(self.model.encode(turns, layout=self.layout, generation=self.generation).ids)
                for turns in (end, (asked, said, *end))
            )
        except InlayError:
            return None
        return _Overhead(one, max(0, two - one))


def _sizes(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Bytes of the texts of each sample; of files they are known from their check."""
    if isinstance(samples, Samples):
        return samples.column("bytes")
    if isinstance(samples, Joined):
        return np.concatenate([_sizes(part) for part in samples.parts])
    return np.fromiter((max(map(_bytes, conversations_of(row))) for row in samples), np.int64, len(samples))


def _bytes(row: Sequence[Message]) -> int:
    return sum(len(message.text.encode()) for message in row)
