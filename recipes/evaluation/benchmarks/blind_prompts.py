"""The blind rows: the same questions without their media, and with the medium of another question.

If the blind rows reach the same score, the score does not show that the medium was used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart, media_of
from inlay.recipes.data.rows.sample import medium_key

__all__ = ["with_other_media", "without_media"]

Prompt: TypeAlias = tuple[Message, ...]


def without_media(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The text of each prompt."""
    return [
        tuple(
            replace(turn, content=tuple(part for part in turn.content if isinstance(part, TextPart))) for turn in prompt
        )
        for prompt in prompts
    ]


def with_other_media(prompts: Sequence[Prompt]) -> list[Prompt] | None:
    """The prompts with other media: each medium is replaced by the one half a set further on.

    Returns:
        None if all prompts of a modality have the same medium.

    Example:
        >>> prompts = [(Message("user", (MediaPart("image", f"{name}.png"),)),) for name in "aabc"]
        >>> [media_of(prompt)[0].source for prompt in with_other_media(prompts)]
        ['b.png', 'b.png', 'c.png', 'a.png']
    """
    media = {medium_key(part): part for prompt in prompts for part in media_of(prompt)}
    others: dict[tuple[str, str], MediaPart] = {}
    for modality in {part.modality for part in media.values()}:
        own = [key for key, part in media.items() if part.modality == modality]
        if len(own) < 2:
            return None
        shift = len(own) // 2
        others |= {key: media[own[(place + shift) % len(own)]] for place, key in enumerate(own)}
    return [
        tuple(
            replace(turn, content=tuple(others[medium_key(p)] if isinstance(p, MediaPart) else p for p in turn.content))
            for turn in prompt
        )
        for prompt in prompts
    ]
