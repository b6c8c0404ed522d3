"""The sampling policy of a group of answers: temperature, top-k, top-p, forbidden tokens, and its own random numbers.

Every answer has its own random stream, which depends on the seed, the number of the question and the number of the
answer, so that the answers do not depend on the batch. One random number per token is enough, because a token is drawn
by inverting the cumulative distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

from inlay.adapters.language.wiring.protocol import LanguageModelError

__all__ = ["PolicyProcessor", "SamplingPolicy", "Streams", "distribution"]

_AT_ONCE = 1 << 22
"""Limit on the probabilities in float64 at once, which bounds the memory of a step."""


@dataclass(frozen=True, kw_only=True)
class SamplingPolicy:
    """The rule by which the next token is drawn from the logits of the model."""

    temperature: float = 1.0
    """0 takes the most likely token."""
    top_k: int | None = None
    """Draw from the most likely tokens only."""
    top_p: float | None = None
    """Draw from the smallest set of tokens whose probabilities sum to at least this share."""
    forbidden: tuple[int, ...] = ()
    """Tokens that are never drawn."""
    _places: dict[tuple[object, ...], Tensor] = field(default_factory=dict, init=False, compare=False, repr=False)
    """Mask of the forbidden tokens by device and width of the logits."""

    def __post_init__(self) -> None:
        expected = ""
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            expected = f"temperature: expected a number from 0 on, got {self.temperature!r}"
        elif self.top_k is not None and (type(self.top_k) is not int or self.top_k < 1):
            expected = f"top_k: expected a whole number from 1 on, got {self.top_k!r}"
        elif self.top_p is not None and not 0 < self.top_p <= 1:
            expected = f"top_p: expected a number above 0 and up to 1, got {self.top_p!r}"
        if expected:
            raise LanguageModelError(expected)

    def draw(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Draw the next token of each row.

        Args:
            logits: ``[R, vocabulary]`` in float32.
            numbers: ``[R]`` in float64, from 0 to below 1.

        Returns:
            ``[R]`` ids.

        Raises:
            LanguageModelError: a row has NaN, or no finite logit.
        """
        rows = max(1, _AT_ONCE // logits.shape[-1])
        parts = zip(torch.split(logits, rows), torch.split(numbers.to(logits.device), rows), strict=True)
        return torch.cat([self._drawn(self._allowed(part), own) for part, own in parts])

    def _drawn(self, allowed: Tensor, numbers: Tensor) -> Tensor:
        best = allowed.max(dim=-1)
        if not bool(best.values.isfinite().all()):
            raise LanguageModelError("expected finite logits of the next token, got NaN or infinity; use float32")
        if self.temperature == 0:
            return best.indices
        cumulative = distribution(allowed, self.temperature, self.top_k, self.top_p).cumsum(dim=-1)
        # With right=True a token of probability 0 is never drawn.
        wanted = numbers[:, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, wanted, right=True)[:, 0].clamp_(max=allowed.shape[-1] - 1)

    def _allowed(self, logits: Tensor) -> Tensor:
        key = (logits.device, logits.shape[-1])
        if key not in self._places:
            known = [token for token in self.forbidden if token < logits.shape[-1]]
            self._places[key] = torch.tensor(known, device=logits.device, dtype=torch.long)
        return logits.index_fill(-1, self._places[key], float("-inf"))


def distribution(logits: Tensor, temperature: float, top_k: int | None, top_p: float | None) -> Tensor:
    """Probabilities ``[R, vocabulary]`` in float64, not normalised after top-k and top-p.

    Example:
        >>> scores = torch.tensor([[0.5, 0.3, 0.2]]).log()
        >>> [round(p, 3) for p in distribution(scores, 1.0, None, 0.7)[0].tolist()]
        [0.5, 0.3, 0.0]
    """
    scores = logits.double() / temperature
    if top_k is not None and top_k < scores.shape[-1]:
        least = scores.topk(top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < least, float("-inf"))
    probabilities = scores.softmax(dim=-1)
    if top_p is not None and top_p < 1:
        ordered, places = probabilities.sort(dim=-1, descending=True)
        before = ordered.cumsum(dim=-1) - ordered
        probabilities = probabilities.scatter(-1, places, ordered.masked_fill(before >= top_p, 0.0))
    return probabilities


class Streams:
    """The random numbers of the answers of a batch.

    Args:
        seed: 0 or more.
        numbers: the number of each question.
        count: answers per question.
        length: largest number of tokens of an answer.
    """

    def __init__(self, seed: int, numbers: Sequence[int], count: int, length: int) -> None:
        drawn = [
            np.random.default_rng([seed, number, answer]).random(length)
            for number in numbers
            for answer in range(count)
        ]
        self.values = torch.from_numpy(np.stack(drawn))

    def at(self, step: int, rows: Tensor) -> Tensor:
        """The random numbers ``[R]`` of some answers for one step."""
        return self.values[rows, step]


class PolicyProcessor(LogitsProcessor):
    """A sampling policy for transformers' ``generate``, which leaves one possible token per row.

    Args:
        policy: the policy.
        streams: the random streams of all rows.
        grammar: restricts the logits depending on the previous ids, such as the grammar of signal tokens.
    """

    def __init__(self, policy: SamplingPolicy, streams: Streams, grammar: LogitsProcessor | None = None) -> None:
        self.policy, self.streams, self.grammar = policy, streams, grammar
        self.steps: list[Tensor] = []
        """Log-probabilities ``[R]`` of the drawn tokens of each step, at temperature 1 over the whole vocabulary."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits ``[R, vocabulary]`` that are 0 for the drawn token and minus infinity for all others."""
        allowed: Tensor = scores if self.grammar is None else self.grammar(input_ids, scores)
        drawn = self.policy.draw(allowed, self.streams.at(len(self.steps), torch.arange(len(scores))))[:, None]
        self.steps.append((scores.gather(-1, drawn)[:, 0] - scores.logsumexp(dim=-1)).cpu())
        return torch.full_like(scores, float("-inf")).scatter_(-1, drawn, 0.0)
