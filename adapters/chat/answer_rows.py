"""Sampled answers appended to their prompts, as rows for log-probabilities and losses.

The rows use the sampled ids, because the text of an answer, tokenised again, can give other ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from inlay.adapters.core.encode import Encoded
from inlay.adapters.language.labels import IGNORE

__all__ = ["answer_row"]


def answer_row(prompt: Encoded, ids: Sequence[int], *, encoder_decoder: bool = False) -> Encoded:
    """Append an answer to its prompt; the tokens of the answer alone are labelled.

    Args:
        prompt: a conversation encoded for generation.
        ids: the new ids, including the end of the answer.
        encoder_decoder: whether the language model is an encoder-decoder, whose decoder reads the answer.

    Example:
        >>> prompt = Encoded(torch.tensor([1, 2]), torch.tensor([IGNORE, IGNORE]), torch.tensor([False, False]), ())
        >>> row = answer_row(prompt, [7, 8])
        >>> row.ids.tolist(), row.labels.tolist()
        ([1, 2, 7, 8], [-100, -100, 7, 8])
    """
    answer = torch.tensor(list(ids), dtype=torch.long)
    if encoder_decoder:
        return replace(prompt, target=answer)
    return replace(
        prompt,
        ids=torch.cat([prompt.ids, answer]),
        labels=torch.cat([torch.full_like(prompt.ids, IGNORE), answer]),
        slots=torch.cat([prompt.slots, torch.zeros_like(answer, dtype=torch.bool)]),
    )
