"""Text to ids, as the tokenizer encodes the whole string, except that special tokens spelled in messages stay text.

If a message spells a special token, such as ``</s>``, the string is split at the template's own special tokens, and the
text between them is tokenised as a whole, as plain text. So the spelled token adds no tokens for spaces around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

from inlay.adapters.conversation.segments import Text
from inlay.adapters.language.model import LanguageModel

__all__ = ["tokenise"]

_GUARD = "\n"
"""A text that tokenizers never merge with the text after it."""


def tokenise(run: Sequence[Text], language: LanguageModel) -> tuple[list[int], list[bool]]:
    """Ids of consecutive texts, and for each id whether the loss covers it.

    Args:
        run: the texts; each text with ``apart`` begins a new string.
        language: the language model, with its tokenizer.
    """
    ids: list[int] = []
    trained: list[bool] = []
    starts = [index for index, text in enumerate(run) if text.apart or index == 0]
    for start, stop in zip(starts, [*starts[1:], len(run)], strict=True):
        for token, keep in _tokens(run[start:stop], language):
            ids.append(token)
            trained.append(keep)
    return ids, trained


def _tokens(texts: Sequence[Text], language: LanguageModel) -> Iterator[tuple[int, bool]]:
    """Ids of one string, and for each whether the loss covers it."""
    joined = "".join(text.text for text in texts)
    if not joined:
        return
    trained_at = [text.trained for text in texts for _ in text.text]
    found = list(_pattern(language.special_tokens).finditer(joined)) if language.special_tokens else []
    ends = list(accumulate(len(text.text) for text in texts))
    literal = [(end - len(text.text), end) for text, end in zip(texts, ends, strict=True) if text.literal and text.text]
    own = [mark for mark in found if any(start <= mark.start() and mark.end() <= end for start, end in literal)]
    if len(own) == len(found):
        yield from _labelled(_offsets(joined, language.tokenizer), 0, trained_at)
        return
    cursor, before = 0, ""
    for mark in [*own, None]:
        chunk = joined[cursor : mark.start() if mark else len(joined)]
        lead, tail = _stripped(chunk, before, mark[0] if mark else "", language.tokenizer)
        yield from _labelled(
            _plain(chunk[lead : len(chunk) - tail], before, language.tokenizer), cursor + lead, trained_at
        )
        if mark:
            yield int(language.tokenizer.convert_tokens_to_ids(mark[0])), trained_at[mark.start()]
            cursor, before = mark.end(), mark[0]


@lru_cache(maxsize=8)
def _pattern(specials: tuple[str, ...]) -> re.Pattern[str]:
    """A regular expression for any of the special tokens, the longest first."""
    return re.compile("|".join(map(re.escape, specials)))


def _labelled(
    tokens: Sequence[tuple[int, int, int]], shift: int, trained_at: Sequence[bool]
) -> Iterator[tuple[int, bool]]:
    """Whether the loss covers a token, by the position of its last character."""
    for token, start, end in tokens:
        place = shift + max(start, end - 1)
        yield token, trained_at[place] if place < len(trained_at) else False


def _offsets(text: str, tokenizer: Any, *, plain: bool = False) -> list[tuple[int, int, int]]:
    """Id, start and end of each token; ``plain`` reads special tokens as text."""
    # Not verbose: encode checks the number of positions itself, so the tokenizer's warning about length is redundant.
    read = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=plain, verbose=False
    )
    return [(token, start, end) for token, (start, end) in zip(read.input_ids, read.offset_mapping, strict=True)]


def _plain(text: str, before: str, tokenizer: Any) -> list[tuple[int, int, int]]:
    """Tokens of a text in which special tokens are plain text, after the special token ``before`` or at the start.

    Some tokenizers put a space before every text between special tokens, others before the first one only.
    """
    if not text:
        return []
    tokens = _offsets(text, tokenizer, plain=True)
    if not before or [token for token, *_ in _offsets(f"{before}x", tokenizer)[1:]] == tokenizer.encode(
        "x", add_special_tokens=False
    ):
        return tokens
    guard = _offsets(_GUARD, tokenizer, plain=True)
    guarded = _offsets(f"{_GUARD}{text}", tokenizer, plain=True)
    if [token for token, *_ in guarded[: len(guard)]] != [token for token, *_ in guard]:
        return tokens
    length = len(_GUARD)
    return [(token, start - length, end - length) for token, start, end in guarded[len(guard) :]]


def _stripped(chunk: str, before: str, behind: str, tokenizer: Any) -> tuple[int, int]:
    """White space at both ends of a chunk that the tokenizer strips as part of the neighbouring special tokens."""
    added = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
    lead = len(chunk) - len(chunk.lstrip()) if before in added and added[before].rstrip else 0
    tail = len(chunk) - len(chunk.rstrip()) if behind in added and added[behind].lstrip else 0
    return (lead, tail) if lead + tail <= len(chunk) else (len(chunk), 0)
