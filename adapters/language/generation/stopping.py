"""Ends of generated answers: stop tokens and stop texts, and the reason why each row ended."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from transformers import StoppingCriteria

__all__ = ["FinishReason", "StopText", "ended", "single_tokens"]

FinishReason: TypeAlias = Literal["stop", "length"]
"""``stop``: a stop token or stop text was generated; ``length``: the limit on new tokens or the context was reached."""


class StopText(StoppingCriteria):
    """Ends a row as soon as its decoded text contains a stop text, in any tokenisation.

    Args:
        tokenizer: decodes the new ids.
        stop: the stop texts.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(stop)

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """``[B, T]`` ids -> ``[B]`` bool."""
        hits = [self.ends(row) for row in input_ids.tolist()]
        return torch.tensor(hits, device=input_ids.device)

    def ends(self, row: Sequence[int]) -> bool:
        """Whether the text of a row contains a stop text."""
        text: str = self.tokenizer.decode(row, skip_special_tokens=True)
        return any(mark in text for mark in self.stop)


def ended(row: list[int], ends: Collection[int], texts: StopText | None) -> tuple[list[int], FinishReason]:
    """A row up to its end, without padding, and the reason why it ended.

    Args:
        row: new ids, padded until all rows of the batch have ended.
        ends: stop tokens, of which the first ends the row.
        texts: the stop texts, if there are any.
    """
    end = next((index + 1 for index, token in enumerate(row) if token in ends), None)
    if texts is not None and texts.ends(row[:end]):
        lengths = range(1, len(row[:end]) + 1)
        return row[: lengths[bisect_left(lengths, True, key=lambda n: texts.ends(row[:n]))]], "stop"
    return (row, "length") if end is None else (row[:end], "stop")


def single_tokens(tokenizer: Any, stop: Sequence[str]) -> set[int]:
    """Ids of the stop texts that are one token; as stop tokens, ``min_new_tokens`` applies to them."""
    spelled = ((tokenizer(mark, add_special_tokens=False).input_ids, mark) for mark in stop)
    return {int(ids[0]) for ids, mark in spelled if len(ids) == 1 and tokenizer.decode(ids) == mark}
