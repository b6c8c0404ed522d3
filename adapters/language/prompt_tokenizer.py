"""The prompt tokenizer: the text of a medium's turn as token ids for projectors that read the instruction.

InstructBLIP's Q-Former (Dai et al., 2023, https://arxiv.org/abs/2305.06500) is conditioned on the instruction. It reads
BERT's tokens, not the LLM's, so the tokenizer is a frozen port of the backbone, like the LLM and the encoders: a bundle
contains only the tokenizer's digest, which detects another tokenizer.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.compatibility.digest import tokenizer_digest
from inlay.hub.errors import InlayError
from inlay.hub.format.manifest import PortSpec

__all__ = ["PromptError", "PromptTokenizer", "start_token"]


class PromptError(InlayError):
    """A tokenizer does not fit a projector, or the limit leaves no space for a prompt."""


class PromptTokenizer:
    """The tokenizer of projectors that read prompts.

    Args:
        tokenizer: a fast tokenizer, such as BERT's; it is copied and not changed.
        source: the Hub id, or another name from which the same tokenizer can be loaded.
        revision: the commit on the Hub, 40 hex digits.

    Raises:
        PromptError: a slow tokenizer.
    """

    def __init__(self, tokenizer: Any, *, source: str | None = None, revision: str | None = None) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise PromptError(f"expected a fast tokenizer (tokenizer.json), got {type(tokenizer).__name__}")
        self.tokenizer = copy.deepcopy(tokenizer)
        self.tokenizer.truncation_side = "left"
        self.source, self.revision = source, revision

    @property
    def vocabulary(self) -> int:
        """Number of ids, added tokens included."""
        return len(self.tokenizer)

    @property
    def pad_id(self) -> int:
        """An id for masked positions."""
        return int(self.tokenizer.pad_token_id or 0)

    @cached_property
    def port(self) -> PortSpec:
        """The interface that an adapter records; both digests are that of the tokenizer, which has no weights."""
        digest = tokenizer_digest(self.tokenizer)
        return PortSpec(
            kind="tokenizer",
            family=type(self.tokenizer.backend_tokenizer.model).__name__.lower(),
            width=self.vocabulary,
            source=self.source,
            revision=self.revision,
            tokenizer=digest,
            weights=digest,
        )

    def port_for(self, vocabulary: int) -> PortSpec:
        """The port, for a projector with this vocabulary.

        Raises:
            PromptError: the tokenizer has more tokens.
        """
        if vocabulary < self.vocabulary:
            raise PromptError(
                f"vocabulary: this projector has {vocabulary} tokens, the prompt tokenizer has {self.vocabulary}; "
                f"give the projector vocabulary={self.vocabulary}"
            )
        return self.port

    def encode(self, text: str, limit: int) -> Tensor:
        """The ids of a prompt, with special tokens around them.

        Args:
            text: special tokens in it are read as plain text.
            limit: maximum number of ids, special tokens included; a longer text is cut at its start.

        Returns:
            ``[L]``.

        Raises:
            PromptError: the limit leaves no space for text.
        """
        around = self.tokenizer.num_special_tokens_to_add()
        if limit <= around:
            raise PromptError(f"expected a limit above the {around} special tokens around a prompt, got {limit}")
        ids = self.tokenizer(text, truncation=True, max_length=limit, split_special_tokens=True).input_ids
        return torch.tensor(ids, dtype=torch.long)


START = "[DEC]"
"""The token before a caption that BLIP-2's Q-Former generates (https://arxiv.org/abs/2301.12597)."""


def start_token(prompter: PromptTokenizer) -> tuple[int, int]:
    """The id of ``[DEC]``, and the number of ids including it."""
    start = int(prompter.tokenizer.get_vocab().get(START, prompter.vocabulary))
    return start, max(prompter.vocabulary, start + 1)
