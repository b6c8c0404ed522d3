"""Several answers to one prompt as branches of one row, so that the prompt with its media is computed once.

The row consists of the common prefix without its last token, followed by the continuations, each of which begins with
that last token: so every label is predicted inside its own branch. See
:mod:`inlay.adapters.language.packing.packed_attention`.
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
    """Keep the labels of the last answer only; those of earlier turns become :data:`IGNORE`.

    Args:
        row: an encoded conversation.
        prompt: the same conversation without its last answer, encoded for generation. The target of an encoder-decoder
            is the last answer alone, so its rows are not changed.
    """
    if row.target is not None:
        return row
    labels = row.labels.clone()
    labels[: _common(row.ids, prompt.ids)] = IGNORE
    return replace(row, labels=labels)


def join_branches(rows: Sequence[Encoded], longest: int | None = None) -> Encoded | None:
    """Join conversations that differ only in their last answers into one row.

    Args:
        rows: at least two conversations with the same media, labelled in their last answers.
        longest: limit on the positions of a row, the LLM's context; None for no limit.

    Returns:
        A row with branches in the order of the rows; None if the prompts or their media differ, if a medium ends the
            prompt, if the row would be longer than the limit, or for an encoder-decoder.

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
    """Length of the common prefix of two sequences of ids."""
    width = min(len(one), len(other))
    different = (one[:width] != other[:width]).nonzero()
    return int(different[0]) if len(different) else width


def _same_prompts(one: Encoded, other: Encoded) -> bool:
    """Whether the instructions that projectors read with the media are the same."""
    return one.prompts.keys() == other.prompts.keys() and all(
        len(own) == len(other.prompts[name]) and all(map(torch.equal, own, other.prompts[name]))
        for name, own in one.prompts.items()
    )
