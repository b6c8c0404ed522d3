"""The prompts of the benchmarks, as in the evaluation of LLaVA-1.5 and in lmms-eval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.media.modality import Modality

__all__ = ["CAPTION", "LETTER", "SHORT", "about", "with_options"]

SHORT = "Answer the question using a single word or phrase."
"""LLaVA's instruction for short answers."""
LETTER = "Answer with the option's letter from the given choices directly."
CAPTION = "Provide a one-sentence caption for the provided image."


def about(medium: Any, question: str, instruction: str = "", *, modality: Modality = "image") -> tuple[Message, ...]:
    r"""A conversation with one question.

    Args:
        medium: a source; None for a question without a medium.
        question: the question; may be empty.
        instruction: text that follows the question on a separate line.
        modality: the modality of the medium.

    Example:
        >>> about(None, "What is it?", SHORT)[0].text
        'What is it?\nAnswer the question using a single word or phrase.'
    """
    media = [] if medium is None else [MediaPart(modality, medium)]
    text = "\n".join(filter(None, (question, instruction)))
    return (Message("user", (*media, *([TextPart(text)] if text else []))),)


def with_options(question: str, options: Sequence[str]) -> str:
    r"""A question with its options, one per line with a letter.

    Example:
        >>> with_options("Which?", ["red", "blue"])
        'Which?\nA. red\nB. blue'
    """
    return "\n".join([question, *(f"{chr(ord('A') + place)}. {text}" for place, text in enumerate(options))])
