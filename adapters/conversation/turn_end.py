"""The end of a turn: tokens and texts at which generation stops, because trained answers end with them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from inlay.adapters.conversation.layout import Layout, segments
from inlay.adapters.conversation.messages import Message, TextPart
from inlay.adapters.conversation.segments import Segment, Text
from inlay.adapters.conversation.templates.chat_template import added_token_in

__all__ = ["TurnEnd", "turn_end"]


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """The end of an answer in one layout and one tokenizer."""

    ids: tuple[int, ...]
    """Tokens that end an answer: the template's special token, and end texts that are one token."""
    texts: tuple[str, ...]
    """Texts that end an answer in any tokenisation; they are not part of the answer."""


def turn_end(layout: Layout, tokenizer: Any) -> TurnEnd:
    r"""Find the tokens and texts that end an answer, by laying out a short conversation with the layout's template.

    The result equals the labelled text after an answer in training, for every template and tokenizer.

    Args:
        layout: the adapter's layout.
        tokenizer: the LLM's tokenizer, with the adapter's tokens.

    Raises:
        LayoutError: the template cannot be used with this tokenizer.

    Example:
        >>> from types import SimpleNamespace
        >>> vocabulary = {"</s>": 2}
        >>> tokenizer = SimpleNamespace(
        ...     eos_token="</s>", get_added_vocab=lambda: vocabulary, convert_tokens_to_ids=vocabulary.get
        ... )
        >>> turn_end(Layout(template="vicuna_v1"), tokenizer)
        TurnEnd(ids=(2,), texts=())
    """
    said = (TextPart("x"),)
    probe = [Message("user", said), Message("assistant", said)] * 2
    ids: list[int] = []
    texts = list(layout.stops)
    for end in _ends(segments(layout, probe, tokenizer)):
        if end == tokenizer.eos_token or added_token_in(end, tokenizer):
            found = added_token_in(end, tokenizer)
            ids.append(int(tokenizer.convert_tokens_to_ids(found[0] if found else end)))
        elif not any(text in end for text in texts):
            texts.append(end.strip() or end)
    ids += [token for text in texts for token in _single(text, tokenizer)]
    return TurnEnd(tuple(dict.fromkeys(ids)), tuple(dict.fromkeys(texts)))


def _ends(laid: list[Segment]) -> list[str]:
    """The template's labelled text after each answer."""
    ends = []
    for before, end in pairwise(laid):
        if isinstance(before, Text) and isinstance(end, Text) and before.trained and not before.literal and end.trained:
            ends.append(end.text)
    return ends


def _single(text: str, tokenizer: Any) -> list[int]:
    """The token of a text that is one token, at the start or after a word."""
    found = []
    for before in ("", "x"):
        head, whole = (tokenizer(part, add_special_tokens=False).input_ids for part in (before, before + text))
        if len(whole) == len(head) + 1 and whole[:-1] == head and tokenizer.decode(whole[-1:]) == text:
            found.append(int(whole[-1]))
    return found
