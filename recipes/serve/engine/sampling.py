"""One batch of transformers' ``generate`` with settings of its own for every row.

The processor draws each row's token by the row's temperature, top-p and random numbers, and leaves it as the only
possible one; the criterion ends each row at its own stop texts, its own limit, or when its client has left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from inlay.adapters.language.generation.policy import SamplingPolicy
from inlay.recipes.serve.engine.job import Job
from inlay.recipes.serve.engine.row import Row

__all__ = ["JobCancelled", "RowsEnded", "RowsProcessor"]


class RowsProcessor(LogitsProcessor):
    """Draws the next token of every row.

    Args:
        rows: of the batch.
        forbidden: ids that are never sampled; greedy rows take the most likely of all tokens.
    """

    def __init__(self, rows: Sequence[Row], forbidden: tuple[int, ...] = ()) -> None:
        self.rows = rows
        self._policies: dict[SamplingPolicy, list[int]] = {}
        for place, row in enumerate(rows):
            asked = row.job.sampling
            policy = SamplingPolicy(temperature=0.0)
            if asked.temperature > 0 and asked.top_p != 0:
                policy = SamplingPolicy(temperature=asked.temperature, top_p=asked.top_p, forbidden=forbidden)
            self._policies.setdefault(policy, []).append(place)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores ``[B, vocabulary]`` that are 0 for the drawn token and minus infinity for all others."""
        chosen = torch.zeros(len(scores), dtype=torch.long)
        for policy, places in self._policies.items():
            live = [place for place in places if not self.rows[place].finished]
            if live:
                own = scores if len(live) == len(scores) else scores[live]
                chosen[live] = policy.draw(own.float(), self._numbers(policy, live)).cpu()
        for place, (row, token) in enumerate(zip(self.rows, chosen.tolist(), strict=True)):
            if row.finished:
                continue
            if row.job.sampling.top_logprobs is None:
                row.take(token)
            else:
                row.take(token, *_log_probs(scores[place], token, row.job.sampling.top_logprobs))
        return torch.full_like(scores, float("-inf")).scatter_(-1, chosen[:, None].to(scores.device), 0.0)

    def _numbers(self, policy: SamplingPolicy, live: Sequence[int]) -> Tensor:
        """``[R]`` random numbers in float64; greedy rows need none."""
        if policy.temperature == 0:
            return torch.zeros(len(live), dtype=torch.float64)
        return torch.tensor([self.rows[place].random.random() for place in live], dtype=torch.float64)


class RowsEnded(StoppingCriteria):
    """Ends each row that takes no further token.

    Args:
        rows: of the batch.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """``[B, T]`` ids -> ``[B]`` bool."""
        return torch.tensor([row.finished for row in self.rows], device=input_ids.device)


class JobCancelled(StoppingCriteria):
    """Ends a beam search when its client has left.

    Args:
        job: of all beams.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """``[beams, T]`` ids -> ``[beams]`` bool."""
        return torch.full((len(input_ids),), self.job.cancelled, device=input_ids.device)


def _log_probs(scores: Tensor, token: int, most: int) -> tuple[float, tuple[tuple[int, float], ...]]:
    """The log-probability of a token, and the most likely tokens, from scores ``[vocabulary]``."""
    values = scores.float().log_softmax(dim=-1)
    best = values.topk(min(most, len(values)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return float(values[token]), tuple(pair for pair in pairs if pair[1] > float("-inf"))
