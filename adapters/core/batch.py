"""From conversations to one batch of tensors: tokenise, label by offsets, keep places for media.

A decoder-only model reads one sequence, in which the answers are labelled. For an encoder-decoder the sequence is the
source (media and all turns before the last answer, nothing labelled) and the last answer stands apart as the target.

Text between two media is tokenised once, as one string, and each token is labelled by where its last character lies. So
the ids are those that the tokenizer gives for the rendered text, and the mask cannot drift by a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch
from torch import Tensor

from inlay.adapters.conversation.layout import Layout, segments
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, made_of
from inlay.adapters.conversation.segments import Bos, LayoutError, Media, Segment, Text
from inlay.adapters.encoders.protocol import Inputs
from inlay.adapters.language.labels import IGNORE, PadSide, pad
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.language.prompt_tokenizer import Prompts, Reader, prompt_texts
from inlay.adapters.llm_parts.signal_tokens import Signals, mark, unmark
from inlay.adapters.media.modality import Modality

__all__ = ["Batch", "Encoded", "collate", "encode"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One conversation as ids."""

    ids: Tensor
    """``[T]``; the pad id in media slots."""
    labels: Tensor
    """``[T]``; :data:`IGNORE` where the loss is not taken."""
    slots: Tensor
    """``[T]`` bool; True in media slots."""
    media: tuple[MediaPart, ...]
    """The media in reading order."""
    name: str = ""
    """The sample's id, for errors."""
    target: Tensor | None = None
    """``[U]``; what an encoder-decoder has to write; None for other models, and where the answer is left out."""
    prompts: Mapping[Modality, tuple[Tensor, ...]] = field(default_factory=dict)
    """For each modality whose projector reads: ids ``[L]`` of the words of each medium's turn."""
    made: tuple[MadePart, ...] = ()
    """What the assistant makes, in reading order: each stands in the ids as the signal tokens of its modality."""


@dataclass(frozen=True)
class Batch:
    """``B`` conversations, padded to ``T``."""

    ids: Tensor
    """``[B, T]``."""
    labels: Tensor
    """``[B, T]``."""
    mask: Tensor
    """``[B, T]``; 1 where there is a token or a feature."""
    slots: Tensor
    """``[B, T]`` bool."""
    order: tuple[Modality, ...] = ()
    """Modality of each medium, in reading order over the whole batch."""
    inputs: Mapping[Modality, Inputs] = field(default_factory=dict)
    """Preprocessed media, ``[n, ...]`` a modality."""
    features: Mapping[Modality, Tensor] = field(default_factory=dict)
    """Frozen features ``[n, tokens, width]`` where they are at hand: then the encoder is not run."""
    names: tuple[str, ...] = ()
    """Sample ids."""
    target: Tensor | None = None
    """``[B, U]``; the decoder's side of an encoder-decoder, :data:`IGNORE` in the padding."""
    prompts: Mapping[Modality, Prompts] = field(default_factory=dict)
    """For each modality whose projector reads: the words of each medium's turn in the projector's own tokens."""
    made: tuple[MadePart, ...] = ()
    """What the assistant makes, in reading order over the whole batch."""

    @property
    def supervised(self) -> Tensor:
        """``[B]`` bool: the samples with at least one label."""
        return ((self.labels if self.target is None else self.target) != IGNORE).any(dim=1)

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return replace(
            self,
            ids=self.ids.to(device),
            labels=self.labels.to(device),
            mask=self.mask.to(device),
            slots=self.slots.to(device),
            inputs={key: _moved(value, device) for key, value in self.inputs.items()},
            features={key: value.to(device) for key, value in self.features.items()},
            target=None if self.target is None else self.target.to(device),
            prompts={key: value.to(device) for key, value in self.prompts.items()},
        )

    def __len__(self) -> int:
        return len(self.ids)


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    return {name: tensor.to(device) for name, tensor in inputs.items()}


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
        readers: modality -> how the words of a medium's turn become ids, where a projector reads them.
        signals: the signal tokens of the attached adapter, as which the assistant's media are laid out; without them
            those media are left out.
        generation: leave the answer to the model.
        name: the sample's id, put in front of every error.

    Raises:
        LayoutError: wrong turns, a modality without encoder, or a text that is longer than the context; nothing is cut.
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
    source, answer = language.arrange(laid, generation=generation)
    sequence = _sequence(source, layout.bos, language, tokens, where)
    target = None if answer is None else _sequence(answer, "none", language, {}, where).labels
    if not generation and all(label == IGNORE for label in (sequence.labels if target is None else target)):
        raise LayoutError(f"{where}no token is trained on: the answers are empty after layout {layout.template!r}")
    media = tuple(sequence.media)
    prompts = {
        modality: tuple(read(text) for text in prompt_texts(layout, messages, modality, media))
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


def collate(rows: Sequence[Encoded], pad_id: int, side: PadSide = "right") -> Batch:
    """Pad encoded conversations into one batch; media are added by the caller.

    Args:
        rows: one or more conversations.
        pad_id: id of padding.
        side: right for training, left for generation.
    """
    ones = [torch.ones_like(row.ids) for row in rows]
    targets = [row.target for row in rows if row.target is not None]
    ids, mask = pad([row.ids for row in rows], pad_id, side), pad(ones, 0, side)
    labels, slots = pad([row.labels for row in rows], IGNORE, side), pad([row.slots for row in rows], False, side)
    return Batch(
        ids=ids,
        labels=labels,
        mask=mask,
        slots=slots,
        order=tuple(part.modality for row in rows for part in row.media),
        names=tuple(row.name for row in rows),
        target=pad(targets, IGNORE, "right") if targets else None,
        made=tuple(part for row in rows for part in row.made),
    )


@dataclass(slots=True)
class _Sequence:
    """One sequence in the making."""

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


def _sequence(
    laid: Sequence[Segment], bos: Bos, language: LanguageModel, tokens: Mapping[Modality, int], where: str
) -> _Sequence:
    """Tokenise segments, BOS in its place."""
    sequence = _Sequence()
    texts = (index for index, segment in enumerate(laid) if isinstance(segment, Text))
    place = next(texts, len(laid)) if bos == "after_media" else 0
    _write(sequence, laid[:place], language, tokens, where)
    if bos != "none" and language.bos_id is not None and not _starts_with_bos(laid[place:], language):
        sequence.add([language.bos_id], [False])
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
            for piece in _pieces([segment for segment in run if isinstance(segment, Text)], language):
                sequence.add(*_tokenise(piece, language))


def _slot_count(part: MediaPart, tokens: Mapping[Modality, int], where: str) -> int:
    if part.modality not in tokens:
        known = ", ".join(tokens) or "text only"
        raise LayoutError(f"{where}the message holds a medium of type {part.modality!r}, this model takes: {known}")
    return tokens[part.modality]


def _starts_with_bos(laid: Sequence[Segment], language: LanguageModel) -> bool:
    first = laid[0] if laid else None
    bos = language.tokenizer.bos_token
    return isinstance(first, Text) and first.literal and bool(bos) and first.text.startswith(bos)


def _pieces(run: Sequence[Text], language: LanguageModel) -> list[list[Text]]:
    """One piece for the whole run, unless people wrote the text of a special token into it."""
    specials = language.special_tokens
    if not any(special in text.text for text in run if not text.literal for special in specials):
        return [list(run)]
    return [list(group) for _, group in groupby(run, key=lambda text: text.literal)]


def _tokenise(piece: Sequence[Text], language: LanguageModel) -> tuple[list[int], list[bool]]:
    """Ids of a piece, and for each whether it is trained on."""
    joined = "".join(text.text for text in piece)
    if not joined:
        return [], []
    trained_at = [text.trained for text in piece for _ in text.text]
    specials_are_text = not any(text.literal for text in piece)
    encoding = language.tokenizer(
        joined, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=specials_are_text
    )
    trained = [
        trained_at[max(start, end - 1)] if start < len(trained_at) else False for start, end in encoding.offset_mapping
    ]
    return list(encoding.input_ids), trained
