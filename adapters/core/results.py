"""Results of a forward pass: loss and logits, or log-probabilities and their sums over conversations or branches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from inlay.adapters.media.modality import Modality

__all__ = ["Output", "TokenLogProbs"]


@dataclass(frozen=True)
class Output:
    """The result of one forward pass."""

    loss: Tensor | None
    """Mean cross-entropy over the labelled tokens; None if there are none."""
    logits: Tensor | None
    """``[rows, vocabulary]`` for the labelled positions, or ``[B, T, vocabulary]`` for all (``[B, U, vocabulary]`` of
    the target for an encoder-decoder); None with ``logits="none"``."""
    targets: Tensor | None = None
    """``[rows]``: the labelled token ids, parallel to ``logits``."""
    signal_states: Mapping[Modality, Tensor] | None = None
    """The states of signal tokens, if requested: see :meth:`ModelCore.signal_states`."""


@dataclass(frozen=True)
class TokenLogProbs:
    """Log-probabilities of the labelled tokens of a batch.

    Example:
        >>> import torch
        >>> found = TokenLogProbs(torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([0, 0, 1]), 2)
        >>> found.sums().tolist(), found.counts.tolist()
        ([-3.0, -4.0], [2, 1])
    """

    tokens: Tensor
    """``[n]`` in float32, in reading order."""
    sequence: Tensor
    """``[n]``, index of each token's sequence: its conversation, or its branch counted over all rows."""
    sequences: int
    """Number of sequences, ``S``."""

    @property
    def counts(self) -> Tensor:
        """``[S]``, labelled tokens of each sequence."""
        return self.sequence.bincount(minlength=self.sequences)

    def sums(self, weights: Tensor | None = None) -> Tensor:
        """``[S]``, the log-probability of each sequence; with ``weights`` ``[n]`` a weighted sum."""
        values = self.tokens if weights is None else self.tokens * weights
        return values.new_zeros(self.sequences).index_add(0, self.sequence, values)

    def padded(self) -> tuple[Tensor, Tensor]:
        """``[S, T]``, the values of each sequence padded with zeros, and the mask ``[S, T]`` of the values."""
        counts = self.counts
        place = torch.arange(len(self.tokens), device=self.tokens.device)
        place = place - (counts.cumsum(0) - counts)[self.sequence]
        width = int(counts.max())
        values = self.tokens.new_zeros(self.sequences, width).index_put((self.sequence, place), self.tokens)
        return values, torch.arange(width, device=counts.device) < counts[:, None]
