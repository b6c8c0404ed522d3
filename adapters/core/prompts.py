"""Prompts for projectors that read the instruction: the words of a medium's turn, in the projector's own tokens.

InstructBLIP's Q-Former (Dai et al., 2023, https://arxiv.org/abs/2305.06500) reads the instruction with the features.
The tokens are those of :class:`inlay.adapters.language.prompt_tokenizer.PromptTokenizer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from inlay.adapters.conversation.messages import MediaPart, Message
from inlay.adapters.conversation.template import instruction
from inlay.adapters.language.labels import pad
from inlay.adapters.media.modality import Modality

__all__ = ["Prompts", "Reader", "collate_prompts", "prompt_texts"]

Reader: TypeAlias = Callable[[str], Tensor]
"""Function from a text to ids ``[L]``, cut to the length that a projector accepts."""


@dataclass(frozen=True)
class Prompts:
    """One prompt a medium."""

    ids: Tensor
    """``[n, L]``."""
    mask: Tensor
    """``[n, L]``; 1 where there is a token."""

    def to(self, device: torch.device) -> Prompts:
        """The prompts on another device."""
        return Prompts(self.ids.to(device), self.mask.to(device))

    def __len__(self) -> int:
        return len(self.ids)


def prompt_texts(prompt: str, messages: Sequence[Message], modality: Modality, media: Sequence[MediaPart]) -> list[str]:
    """The text of each medium's turn; a user's words are inserted into the layout's prompt.

    Args:
        prompt: the layout's prompt.
        messages: the conversation.
        modality: the modality of the media.
        media: the media that the layout kept, in reading order.
    """
    turns: Iterator[tuple[MediaPart, str]] = (
        (part, instruction(prompt, message) if message.role == "user" else message.text)
        for message in messages
        for part in message.content
        if isinstance(part, MediaPart)
    )
    kept = [(medium, next(text for part, text in turns if part is medium)) for medium in media]
    return [text.strip() for medium, text in kept if medium.modality == modality]


def collate_prompts(rows: Sequence[Tensor], pad_id: int) -> Prompts:
    """Prompts ``[L_i]`` of any length as one batch, padded on the right; an empty list gives ids ``[0, 1]``."""
    if not rows:
        return Prompts(torch.zeros(0, 1, dtype=torch.long), torch.zeros(0, 1, dtype=torch.long))
    return Prompts(pad(rows, pad_id, "right"), pad([torch.ones_like(row) for row in rows], 0, "right"))
