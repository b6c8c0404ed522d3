"""From conversations to one batch of tensors: tokenise, label by offsets, keep places for media.

Text between two media is tokenised once, as one string, and each token is labelled by where its last character lies. So
the ids are those that the tokenizer gives for the rendered text, and the mask cannot drift by a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch
from torch import Tensor

from inlay.adapters.language import LanguageModel
from inlay.adapters.layout import Layout, LayoutError, Media, Segment, Text, segments
from inlay.adapters.messages import MediaPart, Message, Modality
from inlay.adapters.splice import IGNORE, PadSide, pad

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
    inputs: Mapping[Modality, Tensor] = field(default_factory=dict)
    """Preprocessed media, ``[n, ...]`` a modality."""
    features: Mapping[Modality, Tensor] = field(default_factory=dict)
    """Frozen features ``[n, tokens, width]`` where they are at hand: then the encoder is not run."""
    names: tuple[str, ...] = ()
    """Sample ids."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return replace(
            self,
            ids=self.ids.to(device),
            labels=self.labels.to(device),
            mask=self.mask.to(device),
            slots=self.slots.to(device),
            inputs={key: value.to(device) for key, value in self.inputs.items()},
            features={key: value.to(device) for key, value in self.features.items()},
        )

    def __len__(self) -> int:
        return len(self.ids)


def encode(
    messages: Sequence[Message],
    layout: Layout,
    language: LanguageModel,
    tokens: Mapping[Modality, int],
    *,
    generation: bool = False,
    name: str = "",
) -> Encoded:
    """Lay out and tokenise one conversation.

    Args:
        messages: canonical messages.
        layout: the adapter's layout.
        language: for its tokenizer, BOS rule and context.
        tokens: LLM positions per medium of each modality.
        generation: leave the answer to the model.
        name: the sample's id, put in front of every error.

    Raises:
        LayoutError: wrong turns, a modality without encoder, or a text that is longer than the context; nothing is cut.
    """
    where = f"{name}: " if name else ""
    try:
        laid = segments(layout, messages, language.tokenizer, generation=generation)
    except LayoutError as error:
        raise LayoutError(f"{where}{error}") from error
    ids: list[int] = []
    labels: list[int] = []
    slots: list[bool] = []
    media: list[MediaPart] = []
    if language.bos_id is not None and not _starts_with_bos(laid, language):
        _extend(ids, labels, slots, [language.bos_id], [False])
    for is_media, run in groupby(laid, key=lambda segment: isinstance(segment, Media)):
        if is_media:
            for segment in run:
                if isinstance(segment, Media):
                    count = _slot_count(segment.part, tokens, where)
                    media.append(segment.part)
                    ids += [language.pad_id] * count
                    labels += [IGNORE] * count
                    slots += [True] * count
        else:
            for piece in _pieces([segment for segment in run if isinstance(segment, Text)], language):
                _extend(ids, labels, slots, *_tokenise(piece, language))
    if len(ids) > language.context:
        raise LayoutError(
            f"{where}{len(ids)} positions ({sum(slots)} of them media) are more than the context of "
            f"{language.context}; shorten the text, split the conversation, or use an LLM with a longer context "
            "(nothing is cut)"
        )
    if not generation and all(label == IGNORE for label in labels):
        raise LayoutError(f"{where}no token is trained on: the answers are empty after layout {layout.template!r}")
    return Encoded(torch.tensor(ids), torch.tensor(labels), torch.tensor(slots, dtype=torch.bool), tuple(media), name)


def collate(rows: Sequence[Encoded], pad_id: int, side: PadSide = "right") -> Batch:
    """Pad encoded conversations into one batch; media are added by the caller.

    Args:
        rows: one or more conversations.
        pad_id: id of padding.
        side: right for training, left for generation.
    """
    ones = [torch.ones_like(row.ids) for row in rows]
    return Batch(
        ids=pad([row.ids for row in rows], pad_id, side),
        labels=pad([row.labels for row in rows], IGNORE, side),
        mask=pad(ones, 0, side),
        slots=pad([row.slots for row in rows], False, side),
        order=tuple(part.modality for row in rows for part in row.media),
        names=tuple(row.name for row in rows),
    )


def _extend(ids: list[int], labels: list[int], slots: list[bool], new: list[int], trained: list[bool]) -> None:
    ids += new
    labels += [token if keep else IGNORE for token, keep in zip(new, trained, strict=True)]
    slots += [False] * len(new)


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
