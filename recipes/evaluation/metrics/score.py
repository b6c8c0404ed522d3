"""The base of answer metrics: the mean of a score per answer, overall and by kind of question."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from inlay.hub.safety.text import shown
from inlay.recipes.evaluation.errors import MetricError
from inlay.recipes.evaluation.metric_registry import OVERALL

__all__ = ["OTHER", "MeanScore"]

OTHER = "other"


class MeanScore(Metric, ABC):
    """The mean of :meth:`score`, overall and by kind.

    The kinds are fixed at construction, so that the states have the same shape in every process and can be summed:
    ``scores`` float64 and ``counts`` int64, both ``[len(kinds) + 1]``, with the last entry (``other``) for all other
    kinds.

    Args:
        kinds: the kinds of question to report separately; ``other`` is implied.

    Raises:
        MetricError: a duplicate kind, or one named ``overall``.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    scores: Tensor
    counts: Tensor

    def __init__(self, kinds: Sequence[str] = ()) -> None:
        super().__init__()
        if len(set(kinds)) != len(kinds) or OVERALL in kinds:
            raise MetricError(f"kinds: expected different names, none of them {OVERALL}, got {list(kinds)}")
        self.by_kind = bool(kinds)
        self.kinds = tuple(kind for kind in kinds if kind != OTHER)
        self._places = {kind: place for place, kind in enumerate(self.kinds)}
        self.add_state("scores", torch.zeros(len(self.kinds) + 1, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(len(self.kinds) + 1, dtype=torch.int64), dist_reduce_fx="sum")

    @staticmethod
    @abstractmethod
    def score(prediction: str, answers: Sequence[str]) -> float:
        """The score of one prediction, 0..1."""

    def update(
        self, predictions: Sequence[str], answers: Sequence[Sequence[str]], kinds: Sequence[str] | None = None
    ) -> None:
        """Add a batch.

        Args:
            predictions: one text per question.
            answers: the right answers, one sequence per question.
            kinds: the kind of each question.

        Raises:
            MetricError: different lengths, or a question without an answer.
        """
        chosen = [OTHER] * len(predictions) if kinds is None else kinds
        if not len(predictions) == len(answers) == len(chosen):
            raise MetricError(
                f"expected as many answers and kinds as predictions, got {len(predictions)} predictions, "
                f"{len(answers)} answers and {len(chosen)} kinds"
            )
        scores, counts = torch.zeros_like(self.scores), torch.zeros_like(self.counts)
        for prediction, truths, kind in zip(predictions, answers, chosen, strict=True):
            if isinstance(truths, str) or not truths:
                raise MetricError(f"expected a sequence of at least one answer, got {shown(truths)}")
            place = self._places.get(kind, len(self.kinds))
            scores[place] += self.score(prediction, truths)
            counts[place] += 1
        self.scores = self.scores + scores
        self.counts = self.counts + counts

    def compute(self) -> dict[str, Tensor]:
        """The means, 0..1: ``overall`` (nan before the first update), then each kind with at least one question."""
        means = {OVERALL: self.scores.sum() / self.counts.sum()}
        for place, kind in enumerate((*self.kinds, OTHER)):
            if self.by_kind and self.counts[place]:
                means[kind] = self.scores[place] / self.counts[place]
        return means
