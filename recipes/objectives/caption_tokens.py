"""Captions as BERT tokens for BLIP-2's first stage (https://arxiv.org/abs/2301.12597).

As input, a caption is ``[CLS] a red disc [SEP]``; for generation, ``[DEC]`` replaces ``[CLS]``. If the tokenizer lacks
``[DEC]``, as BERT's does, its id is the vocabulary size, and the word table has one more row.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from inlay.adapters.language.prompt_tokenizer import PromptTokenizer, start_token

__all__ = ["CaptionTokens"]


class CaptionTokens:
    """Encodes texts as padded ids.

    Args:
        prompter: the tokenizer.
        limit: maximum tokens of a caption, special tokens included; longer ones are cut at the end.
    """

    def __init__(self, prompter: PromptTokenizer, limit: int) -> None:
        # Prompts are truncated on the left, captions on the right.
        self.tokenizer = copy.deepcopy(prompter.tokenizer)
        self.tokenizer.truncation_side = "right"
        self.limit, self.pad_id = limit, prompter.pad_id
        self.start, self.vocabulary = start_token(prompter)

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask ``[n, limit]``, always of full length, so that processes can gather them."""
        ids = torch.full((len(texts), self.limit), self.pad_id, dtype=torch.long)
        mask = torch.zeros(len(texts), self.limit, dtype=torch.long)
        for row, text in enumerate(texts):
            read = self.tokenizer(text, truncation=True, max_length=self.limit, split_special_tokens=True).input_ids
            ids[row, : len(read)] = torch.tensor(read)
            mask[row, : len(read)] = 1
        return ids, mask

    @property
    def mask_id(self) -> int:
        """Id of ``[MASK]``, or of the unknown token if the tokenizer lacks it."""
        found = self.tokenizer.mask_token_id
        return int(self.tokenizer.unk_token_id if found is None else found)

    def written(self, ids: Tensor) -> Tensor:
        """The ids with ``[DEC]`` instead of the first token, for generation."""
        started = ids.clone()
        started[:, 0] = self.start
        return started
