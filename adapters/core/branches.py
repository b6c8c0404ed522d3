"""Several answers to one prompt as branches of one row, so that the prompt with its media is read once.

The row is the common prefix without its last token, and after it each continuation, which begins with that last token:
so every label is predicted inside its own branch. See :mod:`inlay.adapters.language.packing.packed_attention`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from inlay.adapters.core.encode import Encoded
from inlay.adapters.language.labels import IGNORE

__all__ = ["join_branches", "last_answer"]


def last_answer(row: Encoded, prompt: Encoded) -> Encoded:
    """The row with labels in its last answer alone; those of earlier turns become :data:`IGNORE`.

    Args:
        row: an encoded conversation.
        prompt: the same conversation without its last answer, encoded for generation. An encoder-decoder's target holds
            the last answer alone, so its rows stay as they are.
    """
    if row.target is not None:
        return row
    labels = row.labels.clone()
    labels[: _common(row.ids, prompt.ids)] = IGNORE
    return replace(row, labels=labels)


def join_branches(rows: Sequence[Encoded], longest: int | None = None) -> Encoded | None:
    """One row for conversations that differ in their last answers only.

    Args:
        rows: at least two conversations with the same media, labelled in their last answers.
        longest: limit of positions of a row, the LLM's context; none if None.

    Returns:
        A row with branches in the order of the rows; None if the prompts or their media differ, if a medium stands at
        the end of the prompt, if the row would be longer than the limit, or for an encoder-decoder.

    Example:
        >>> def row(*answer: int) -> Encoded:
        ...     ids = torch.tensor([1, 2, 3, *answer])
        ...     return Encoded(ids, torch.where(ids > 3, ids, IGNORE), ids < 0, ())
        >>> joined = join_branches([row(7), row(8, 9)])
        >>> joined.ids.tolist(), joined.branches
        ([1, 2, 3, 7, 3, 8, 9], (2, 2, 3))
    """
    first = rows[0]
    if any(row.target is not None or row.media != first.media or row.branches for row in rows):
        return None
    labelled = [int((row.labels != IGNORE).nonzero()[0]) for row in rows]
    prefix = min([*labelled, *(_common(first.ids, row.ids) for row in rows[1:])]) - 1
    if prefix < 1 or any(bool(row.slots[prefix:].any()) or not _same_prompts(first, row) for row in rows):
        return None
    lengths = (prefix, *(len(row.ids) - prefix for row in rows))
    if longest is not None and sum(lengths) > longest:
        return None

    def laid(name: str) -> Tensor:
        return torch.cat([getattr(first, name)[:prefix], *(getattr(row, name)[prefix:] for row in rows)])

    return replace(
        first,
        ids=laid("ids"),
        labels=laid("labels"),
        slots=laid("slots"),
        made=tuple(part for row in rows for part in row.made),
        branches=lengths,
    )


def _common(one: Tensor, other: Tensor) -> int:
    """Length of the common beginning of two sequences of ids."""
    width = min(len(one), len(other))
    different = (one[:width] != other[:width]).nonzero()
    return int(different[0]) if len(different) else width


def _same_prompts(one: Encoded, other: Encoded) -> bool:
    """Whether the words that projectors read beside the media are the same."""
    return one.prompts.keys() == other.prompts.keys() and all(
        len(own) == len(other.prompts[name]) and all(map(torch.equal, own, other.prompts[name]))
        for name, own in one.prompts.items()
    )
