"""One conversation to ids: tokenise, label by offsets, keep places for media.

A decoder-only model reads one sequence, in which the answers are labelled. For an encoder-decoder the sequence is the
source (media and all turns before the last answer, nothing labelled) and the last answer is the target.

Text between two media is tokenised once, as one string, and each token is labelled by the position of its last
character. So the ids equal the tokenizer's ids for the rendered text, and labels cannot shift against them. Only text
that the authors' code tokenises apart is a string of its own, see :mod:`inlay.adapters.core.tokenise`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from inlay.adapters.conversation.layout import Layout, segments
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, made_of
from inlay.adapters.conversation.segments import Bos, LayoutError, Media, Segment, Text
from inlay.adapters.conversation.template import is_empty
from inlay.adapters.conversation.templates.registry import template_named
from inlay.adapters.core.prompts import Reader, prompt_texts
from inlay.adapters.core.tokenise import tokenise
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.signal_tokens import Signals, mark, unmark
from inlay.adapters.media.modality import Modality

__all__ = ["Encoded", "encode"]


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
    """Per modality whose projector reads prompts: ids ``[L]`` of the words of each medium's turn."""
    made: tuple[MadePart, ...] = ()
    """Media that the assistant makes, in reading order; in the ids each is the signal tokens of its modality."""
    branches: tuple[int, ...] = ()
    """Lengths of a prefix and of the continuations that share it; empty for a plain row."""


def encode(
    messages: Sequence[Message],
    layout: Layout,
    language: LanguageModel,
    tokens: Mapping[Modality, int],
    *,
    readers: Mapping[Modality, Reader] | None = None,
    signals: Signals | None = None,
    generation: bool = False,
    name: str = "",
) -> Encoded:
    """Lay out and tokenise one conversation.

    Args:
        messages: canonical messages.
        layout: the adapter's layout.
        language: for its tokenizer, BOS rule and context.
        tokens: LLM positions per medium of each modality.
        readers: modality -> function from the words of a medium's turn to ids, for projectors that read prompts.
        signals: the signal tokens of the attached adapter, which stand for the media that the assistant makes.
        generation: end where the model's answer begins.
        name: the sample's id, put in front of every error.

    Raises:
        LayoutError: wrong turns, a modality without encoder, a sample for training without any answer, or more
            positions than the context; nothing is cut.
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
    sequence = _sequence(source, layout.bos, _bos(layout, language), language, tokens, where)
    target = None if answer is None else _sequence(answer, "none", None, language, {}, where).labels
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
    )


@dataclass(slots=True)
class _Sequence:
    """A sequence that is being built."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    slots: list[bool] = field(default_factory=list)
    media: list[MediaPart] = field(default_factory=list)

    def add(self, new: list[int], trained: list[bool]) -> None:
        """Append tokens."""
        self.ids += new
        self.labels += [token if keep else IGNORE for token, keep in zip(new, trained, strict=True)]
        self.slots += [False] * len(new)

    def keep(self, part: MediaPart, count: int, pad_id: int) -> None:
        """Append places for a medium."""
        self.media.append(part)
        self.ids += [pad_id] * count
        self.labels += [IGNORE] * count
        self.slots += [True] * count


def _bos(layout: Layout, language: LanguageModel) -> int | None:
    """The id that begins a sequence: the tokenizer's BOS, or the one that the template's authors set."""
    tokenizer = language.tokenizer
    if template_named(layout.template).bos_is_eos and (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>"):
        return None if language.bos_id is None else int(tokenizer.eos_token_id)
    return language.bos_id


def _sequence(
    laid: Sequence[Segment],
    bos: Bos,
    bos_id: int | None,
    language: LanguageModel,
    tokens: Mapping[Modality, int],
    where: str,
) -> _Sequence:
    """Tokenise segments, BOS in its place."""
    sequence = _Sequence()
    texts = (index for index, segment in enumerate(laid) if isinstance(segment, Text))
    place = next(texts, len(laid)) if bos == "after_media" else 0
    _write(sequence, laid[:place], language, tokens, where)
    if bos != "none" and bos_id is not None and not _starts_with_bos(laid[place:], language):
        sequence.add([bos_id], [False])
    _write(sequence, laid[place:], language, tokens, where)
    if language.context is not None and len(sequence.ids) > language.context:
        raise LayoutError(
            f"{where}{len(sequence.ids)} positions ({sum(sequence.slots)} of them media) are more than the context of "
            f"{language.context}; shorten the text, split the conversation, or use an LLM with a longer context "
            "(nothing is cut)"
        )
    return sequence


def _write(
    sequence: _Sequence, laid: Sequence[Segment], language: LanguageModel, tokens: Mapping[Modality, int], where: str
) -> None:
    for is_media, run in groupby(laid, key=lambda segment: isinstance(segment, Media)):
        if is_media:
            for segment in run:
                if isinstance(segment, Media):
                    sequence.keep(segment.part, _slot_count(segment.part, tokens, where), language.pad_id)
        else:
            sequence.add(*tokenise([segment for segment in run if isinstance(segment, Text)], language))


def _slot_count(part: MediaPart, tokens: Mapping[Modality, int], where: str) -> int:
    if part.modality not in tokens:
        known = ", ".join(tokens) or "text only"
        raise LayoutError(f"{where}the message holds a medium of type {part.modality!r}, this model takes: {known}")
    return tokens[part.modality]


def _starts_with_bos(laid: Sequence[Segment], language: LanguageModel) -> bool:
    first = laid[0] if laid else None
    bos = language.tokenizer.bos_token
    return isinstance(first, Text) and first.literal and bool(bos) and first.text.startswith(bos)
