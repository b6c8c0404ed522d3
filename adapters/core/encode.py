"""Encoding one conversation to ids: tokenise, label by offsets, reserve positions for media.

A decoder-only model reads one sequence, in which the answers are labelled. For an encoder-decoder the sequence is the
source (media and all turns before the last answer, nothing labelled) and the last answer is the target.

Text between two media is tokenised once, as one string, and each token is labelled by the position of its last
character. So the ids equal the tokenizer's ids for the rendered text, and labels cannot be misaligned. Only text that
the authors' code tokenises separately is a string of its own, see :mod:`inlay.adapters.core.tokenise`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from inlay.adapters.conversation.layout import Layout, segments
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, made_of
from inlay.adapters.conversation.segments import Bos, LayoutError, Segment, Text, TooLongError
from inlay.adapters.conversation.template import is_empty
from inlay.adapters.conversation.templates.registry import template_named
from inlay.adapters.core.prompts import Reader, prompt_texts
from inlay.adapters.core.tiles import Tiler
from inlay.adapters.core.tokenise import tokenise
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.signal_tokens import Signals, mark, unmark
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.tiling.grid import Grid, Piece, counted

__all__ = ["Encoded", "Limit", "check_rows", "encode"]


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit on the positions of a training row."""

    positions: int | None = None
    """None: the LLM's context is the only limit."""
    cut: bool = False
    """Whether the end of a longer row is cut off. Media are never cut: a row with media, or with all of its labels,
    beyond the limit is an error."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One conversation as ids."""

    ids: Tensor
    """``[T]``; the pad id in media slots."""
    labels: Tensor
    """``[T]``; :data:`IGNORE` where no loss is computed."""
    slots: Tensor
    """``[T]`` bool; True in media slots."""
    media: tuple[MediaPart, ...]
    """The media in reading order."""
    name: str = ""
    """The sample's id, for errors."""
    target: Tensor | None = None
    """``[U]``; target of an encoder-decoder's decoder; None for other models and in generation."""
    prompts: Mapping[Modality, tuple[Tensor, ...]] = field(default_factory=dict)
    """Modality whose projector reads prompts -> ids ``[L]`` of the words of each medium's turn."""
    made: tuple[MadePart, ...] = ()
    """Media in the assistant's turns, in reading order; in the ids each is a group of signal tokens of its modality."""
    counts: tuple[int, ...] = ()
    """Number of slots of each medium."""
    grids: tuple[Grid | None, ...] = ()
    """The tile grid of each medium; None for one that is not tiled."""
    cut: int = 0
    """Number of positions that were cut off at the end."""
    branches: tuple[int, ...] = ()
    """Lengths of the prefix and of the branches that share it; empty for a plain row."""


def encode(
    messages: Sequence[Message],
    layout: Layout,
    language: LanguageModel,
    tokens: Mapping[Modality, int],
    *,
    tilers: Mapping[Modality, Tiler] | None = None,
    readers: Mapping[Modality, Reader] | None = None,
    signals: Signals | None = None,
    generation: bool = False,
    name: str = "",
    limit: Limit | None = None,
) -> Encoded:
    """Lay out and tokenise one conversation.

    Args:
        messages: canonical messages.
        layout: the adapter's layout.
        language: the language model, with its tokenizer, BOS rule and context.
        tokens: modality -> number of LLM positions per medium.
        tilers: modality -> the rule that tiles its media; their positions depend on their sizes.
        readers: modality -> function from the words of a medium's turn to ids, for projectors that read prompts.
        signals: the signal tokens of the attached adapter, which represent the media in the assistant's turns.
        generation: end where the answer begins.
        name: the sample's id, with which every error begins.
        limit: the limit on training rows; not used in generation.

    Raises:
        TooLongError: more positions than the context or the limit, and the row may not or cannot be cut.
        LayoutError: wrong turns, a modality without encoder, or a sample for training without any answer.
    """
    where = f"{name}: " if name else ""
    try:
        made: tuple[MadePart, ...] = ()
        if signals is None or not signals.strings:
            laid = segments(layout, messages, language.tokenizer, generation=generation)
        else:
            marked = segments(layout, mark(messages), language.tokenizer, generation=generation)
            laid, made = unmark(marked, made_of(messages), signals)
    except LayoutError as error:
        raise LayoutError(f"{where}{error}") from error
    if not generation and all(is_empty(message) for message in messages if message.role == "assistant"):
        raise LayoutError(f"{where}nothing to train on: every answer of the assistant is empty; leave the sample out")
    source, answer = language.arrange(laid, generation=generation)
    places = _Places(tokens, tilers or {}, where)
    most = _Most.of(language.context, None if generation else limit, made)
    sequence = _sequence(source, layout.bos, _bos(layout, language), language, places)
    if generation and not sequence.ids:
        sequence.add([_start(language, where)], [False])
    cut = most.apply(sequence, where, trained=answer is None and not generation)
    target = None
    if answer is not None:
        told = _sequence(answer, "none", None, language, _Places({}, {}, where))
        cut += most.apply(told, where, trained=True)
        target = told.labels
    if not generation and all(label == IGNORE for label in (sequence.labels if target is None else target)):
        raise LayoutError(f"{where}nothing to train on: template {layout.template!r} leaves no token with a label")
    media = tuple(sequence.media)
    prompts = {
        modality: tuple(read(text) for text in prompt_texts(layout.prompt, messages, modality, media))
        for modality, read in (readers or {}).items()
    }
    return Encoded(
        torch.tensor(sequence.ids, dtype=torch.long),
        torch.tensor(sequence.labels, dtype=torch.long),
        torch.tensor(sequence.slots, dtype=torch.bool),
        media,
        name,
        None if target is None else torch.tensor(target, dtype=torch.long),
        prompts,
        made,
        tuple(sequence.counts),
        tuple(sequence.grids),
        cut,
    )


@dataclass(frozen=True, slots=True)
class _Places:
    """The numbers of positions that media take."""

    tokens: Mapping[Modality, int]
    tilers: Mapping[Modality, Tiler]
    where: str

    def of(self, part: MediaPart) -> tuple[tuple[Piece, ...], Grid | None]:
        """Texts and numbers of positions of a medium in sequence order, and its tiles."""
        if part.modality not in self.tokens:
            known = ", ".join(self.tokens) or "text only"
            raise LayoutError(
                f"{self.where}the message has a medium of type {part.modality!r}; this model takes: {known}"
            )
        tiler = self.tilers.get(part.modality)
        if tiler is None:
            return (self.tokens[part.modality],), None
        grid = tiler.grid(part.source)
        return tiler.pieces(grid), grid


@dataclass(slots=True)
class _Sequence:
    """A sequence that is being built."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    slots: list[bool] = field(default_factory=list)
    media: list[MediaPart] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    grids: list[Grid | None] = field(default_factory=list)

    def add(self, new: list[int], trained: list[bool]) -> None:
        """Append tokens."""
        self.ids += new
        self.labels += [token if keep else IGNORE for token, keep in zip(new, trained, strict=True)]
        self.slots += [False] * len(new)

    def place(self, part: MediaPart, places: _Places) -> list[Text | int]:
        """Record a medium; the caller appends its texts and positions."""
        pieces, grid = places.of(part)
        self.media.append(part)
        self.counts.append(counted(pieces))
        self.grids.append(grid)
        return [piece if isinstance(piece, int) else Text(piece) for piece in pieces]

    def keep(self, count: int, pad_id: int) -> None:
        """Append slots for features."""
        self.ids += [pad_id] * count
        self.labels += [IGNORE] * count
        self.slots += [True] * count


def check_rows(row: Encoded, language: LanguageModel) -> None:
    """Refuse ids that the embedding table has no row for: on a GPU they would end the process.

    Args:
        row: an encoded conversation.
        language: the language model, with the rows of the attached adapter.

    Raises:
        LayoutError: a token without an embedding.
    """
    ids = row.ids.tolist() + ([] if row.target is None else row.target.tolist())
    if (missing := language.without_row(ids)) is not None:
        where, token = f"{row.name}: " if row.name else "", language.tokenizer.convert_ids_to_tokens(missing)
        raise LayoutError(
            f"{where}token {token!r} has the id {missing}, and the LLM embeds {language.vocabulary} tokens: the "
            "tokenizer belongs to another model, or has tokens that this model was never given; remove the token from "
            "the text, or use the model's own tokenizer"
        )


def _bos(layout: Layout, language: LanguageModel) -> int | None:
    """The BOS id of a sequence: the tokenizer's, or the one that the template's authors set."""
    tokenizer = language.tokenizer
    if template_named(layout.template).bos_is_eos and (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>"):
        return None if language.bos_id is None else int(tokenizer.eos_token_id)
    return language.bos_id


def _start(language: LanguageModel, where: str) -> int:
    """The id of a prompt without any text or medium, such as a blind one of template ``plain``: BOS, or EOS."""
    tokenizer = language.tokenizer
    start = language.bos_id if language.bos_id is not None else tokenizer.eos_token_id
    if start is None:
        raise LayoutError(
            f"{where}the prompt is empty, and the tokenizer has neither BOS nor EOS to begin an answer with; choose a "
            "template with text around the turns, such as 'vicuna_v1'"
        )
    return int(start)


def _sequence(
    laid: Sequence[Segment], bos: Bos, bos_id: int | None, language: LanguageModel, places: _Places
) -> _Sequence:
    """Tokenise segments and insert BOS."""
    sequence = _Sequence()
    texts = (index for index, segment in enumerate(laid) if isinstance(segment, Text))
    place = next(texts, len(laid)) if bos == "after_media" else 0
    _write(sequence, laid[:place], language, places)
    if bos != "none" and bos_id is not None and not _starts_with_bos(laid[place:], language):
        sequence.add([bos_id], [False])
    _write(sequence, laid[place:], language, places)
    return sequence


@dataclass(frozen=True, slots=True)
class _Most:
    """The limit on the positions of a sequence."""

    positions: int | None
    what: str
    """Name of the limit in errors."""
    cut: bool

    @classmethod
    def of(cls, context: int | None, limit: Limit | None, made: Sequence[MadePart]) -> _Most:
        """The smaller of context and limit; a row with signal tokens, which are labelled, is never cut."""
        asked = None if limit is None else limit.positions
        if asked is not None and (context is None or asked < context):
            return cls(asked, f"the limit of {asked}", limit is not None and limit.cut and not made)
        return cls(context, f"the context of {context}", limit is not None and limit.cut and not made)

    def apply(self, sequence: _Sequence, where: str, *, trained: bool) -> int:
        """Cut the end of a sequence that is too long.

        Args:
            sequence: changed in place.
            where: the sample, for errors.
            trained: whether the sequence has labels; one without is never cut.

        Returns:
            The number of positions that were cut off.

        Raises:
            TooLongError: it must not be cut, or the cut would remove media or all labels.
        """
        most = self.positions
        if most is None or len(sequence.ids) <= most:
            return 0
        size = len(sequence.ids)
        kept = not any(sequence.slots[most:]) and any(label != IGNORE for label in sequence.labels[:most])
        if not (self.cut and trained and kept):
            why = "its media or all answers are beyond it, so it is not cut" if self.cut else "cutting is not enabled"
            raise TooLongError(
                f"{where}{size} positions ({sum(sequence.slots)} of them media) are more than {self.what}; shorten the "
                "text, split the conversation, choose a tiling with fewer tiles, or use an LLM with a larger context "
                f"({why})"
            )
        del sequence.ids[most:], sequence.labels[most:], sequence.slots[most:]
        return size - most


def _write(sequence: _Sequence, laid: Sequence[Segment], language: LanguageModel, places: _Places) -> None:
    """Append segments; texts that belong to a medium are tokenised with the adjacent texts."""
    pieces: list[Text | int] = []
    for segment in laid:
        pieces += [segment] if isinstance(segment, Text) else sequence.place(segment.part, places)
    for is_text, run in groupby(pieces, key=lambda piece: isinstance(piece, Text)):
        if is_text:
            sequence.add(*tokenise([piece for piece in run if isinstance(piece, Text)], language))
        else:
            sequence.keep(sum(piece for piece in run if isinstance(piece, int)), language.pad_id)


def _starts_with_bos(laid: Sequence[Segment], language: LanguageModel) -> bool:
    first = laid[0] if laid else None
    bos = language.tokenizer.bos_token
    return isinstance(first, Text) and first.literal and bool(bos) and first.text.startswith(bos)
