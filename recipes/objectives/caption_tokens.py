"""Captions in BERT's tokens, as BLIP-2's first stage reads and writes them (https://arxiv.org/abs/2301.12597).

Read, a caption is ``[CLS] a red disc [SEP]``; written, ``[DEC]`` stands where ``[CLS]`` was, which tells the two uses
apart. BERT's own tokenizer lacks ``[DEC]``: then it is the id behind its last one, and the word table has a row more
than the tokenizer.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from inlay.adapters.language.prompt_tokenizer import PromptTokenizer, start_token

__all__ = ["CaptionTokens"]


class CaptionTokens:
    """Texts to padded ids.

    Args:
        prompter: the tokenizer.
        limit: tokens that a caption is cut to, from the right, special tokens included.
    """

    def __init__(self, prompter: PromptTokenizer, limit: int) -> None:
        # A prompt loses its beginning where it is too long, a caption its end.
        self.tokenizer = copy.deepcopy(prompter.tokenizer)
        self.tokenizer.truncation_side = "right"
        self.limit, self.pad_id = limit, prompter.pad_id
        self.start, self.vocabulary = start_token(prompter)

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask ``[n, limit]``: always of full length, so that the ranks of a distributed run can be joined."""
        ids = torch.full((len(texts), self.limit), self.pad_id, dtype=torch.long)
        mask = torch.zeros(len(texts), self.limit, dtype=torch.long)
        for row, text in enumerate(texts):
            read = self.tokenizer(text, truncation=True, max_length=self.limit, split_special_tokens=True).input_ids
            ids[row, : len(read)] = torch.tensor(read)
            mask[row, : len(read)] = 1
        return ids, mask

    @property
    def mask_id(self) -> int:
        """Id of ``[MASK]``, or of the unknown word where the tokenizer lacks it."""
        found = self.tokenizer.mask_token_id
        return int(self.tokenizer.unk_token_id if found is None else found)

    def written(self, ids: Tensor) -> Tensor:
        """The same ids with ``[DEC]`` first."""
        started = ids.clone()
        started[:, 0] = self.start
        return started
