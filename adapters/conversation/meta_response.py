"""ModaVerse's meta response: the LLM describes media in words (Wang et al., 2024, https://arxiv.org/abs/2401.06395).

``Modality: [IMAGE] Prompt: a red disc``. There is no output projector: stock pipelines read the prompt with their own
text encoders. Several modalities share one prompt.

A text is parsed as by the authors, except for the order of modalities with equally many flags:

* flags are counted; the modality with the most flags comes first, then the earlier one;
* a text without flags, or with ``[TEXT]`` alone, is an answer in words;
* the prompt is the text from the first ``Prompt:`` to ``###``.

A generated text may have any form, so a text that their parser refuses is not an error: if no flag or no ``Prompt:``
has the published case, any case is accepted; without ``Prompt:`` the prompt is the whole text without flags and without
the word ``Modality:``; media without a prompt are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from inlay.adapters.media.modality import Modality

__all__ = ["END", "FLAGS", "MetaResponse", "has_prompt", "parse_meta_response"]

FLAGS: dict[str, str] = {"text": "[TEXT]", "image": "[IMAGE]", "audio": "[AUDIO]", "video": "[VIDEO]"}
"""Modality to its flag, in the order of the published tokens."""
END = "###"
"""Text that ends a meta response."""

_FLAG = re.compile(r"\[(TEXT|IMAGE|AUDIO|VIDEO)\]")
_PROMPT = re.compile(r"\bPrompt:")
_ANY_FLAG = re.compile(_FLAG.pattern, re.IGNORECASE)
_ANY_PROMPT = re.compile(_PROMPT.pattern, re.IGNORECASE)
_LABEL = re.compile(r"\bModality:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MetaResponse:
    """An answer in words, a request for media, or both."""

    prompt: str
    """The answer in words, or the prompt for the generators."""
    media: tuple[Modality, ...] = ()
    """Modalities to generate; none for an answer in words."""
    said: bool = True
    """Whether the prompt is also an answer in words."""

    @property
    def text(self) -> str:
        """The text for the user."""
        return self.prompt if self.said else ""

    def __str__(self) -> str:
        """The text as generated, without its end."""
        named: Sequence[str] = (*(("text",) if self.said else ()), *self.media)
        return f"Modality: {' '.join(FLAGS[name] for name in named)} Prompt: {self.prompt}"


def has_prompt(text: str) -> bool:
    """Whether the text contains ``Prompt:``, in any case."""
    return _ANY_PROMPT.search(text) is not None


def parse_meta_response(text: str) -> MetaResponse:
    """Read a generated text; any text is accepted.

    Example:
        >>> parse_meta_response("Modality: [IMAGE] Prompt: a red disc ###")
        MetaResponse(prompt='a red disc', media=('image',), said=False)
        >>> parse_meta_response("[VIDEO] [AUDIO] [AUDIO] and a prompt: rain").media
        ('audio', 'video')
        >>> parse_meta_response("two cats").text
        'two cats'
    """
    text = text.split(END, 1)[0]
    found = [name.lower() for name in _FLAG.findall(text) or _ANY_FLAG.findall(text)]
    ordered = sorted(set(found), key=lambda name: (-found.count(name), found.index(name)))
    if mark := _PROMPT.search(text) or _ANY_PROMPT.search(text):
        prompt = text[mark.end() :].strip()
    else:
        prompt = " ".join(_LABEL.sub(" ", _ANY_FLAG.sub(" ", text)).split())
    named: list[Any] = [name for name in ordered if name in get_args(Modality)] if prompt else []
    return MetaResponse(prompt, tuple(named), said=not named or "text" in ordered)
