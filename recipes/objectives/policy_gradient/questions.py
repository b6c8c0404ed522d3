"""Batches of questions for training on rewards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from inlay.recipes.data.rows.sample import DataError, Question, Sample, questions_of
from inlay.recipes.data.sampling.step_counts import counts_of
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.rewards.scoring import Scorer
from inlay.recipes.settings.stage import Stage

__all__ = ["Asked", "QuestionBatch", "QuestionData", "unscored"]


@dataclass(frozen=True)
class Asked:
    """One question of a data set."""

    number: int
    """Its number over all data sets, which determines the random numbers of its answers."""
    question: Question
    sample: Sample
    replacements: tuple[Asked, ...] = ()
    """Questions that replace it, one after the other, as long as all answers have the same reward."""


@dataclass(frozen=True)
class QuestionBatch:
    """Questions of one micro-batch."""

    asked: tuple[Asked, ...]
    group: int
    """Answers to each."""

    def to(self, _: torch.device) -> QuestionBatch:
        """Return the batch, which has no tensors."""
        return self

    def __len__(self) -> int:
        return len(self.asked)


@counts_of.register
def _answers(batch: QuestionBatch) -> dict[str, int]:
    """Sampled answers."""
    return {"answers": len(batch) * batch.group, "samples": len(batch)}


def unscored(scorer: Scorer, sample: Sample) -> str:
    """The reason why a reward cannot score the answers to a question of a sample; empty if it can."""
    return next((why for question in questions_of(sample) if (why := scorer.problem(question, sample))), "")


class QuestionData(StepData):
    """Batches of questions; each optimizer step may be repeated on the same questions.

    Args:
        sets: data sets.
        stage: batch size and epochs.
        group: number of answers to each question.
        iterations: optimizer steps on the same answers.
        replacements: maximum number of replacements of a question; fewer if there are no other questions.
        scorer: the reward; a question that it cannot score is an error.
        seed: seed of the order.

    Raises:
        DataError: a question that the reward cannot score, or no question.
    """

    def __init__(
        self,
        sets: Sequence[Sequence[Sample]],
        stage: Stage,
        *,
        group: int,
        iterations: int = 1,
        replacements: int = 0,
        scorer: Scorer,
        seed: int,
    ) -> None:
        for row in (row for rows in sets for row in rows):
            if problem := unscored(scorer, row):
                raise DataError(f"{row.origin}: {problem}")
        own = [[(question, row) for row in rows for question in questions_of(row)] for rows in sets]
        super().__init__([len(pairs) for pairs in own], self._read, self._collate, stage, seed=seed)
        self.pairs = [pair for pairs in own for pair in pairs]
        self.group, self.iterations, self.replacements = group, iterations, replacements
        self.steps *= iterations
        self._spare: tuple[int, dict[int, int], list[int]] = (-1, {}, [])
        """Number of a rollout, the indices of its questions, and all other questions in random order."""

    @property
    def amount(self) -> str:
        """A description of the amount of data."""
        return f"{sum(self.sizes)} questions, {self.group} answers to each"

    def order(self, start: int) -> Iterable[list[int]]:
        """The questions of each optimizer step, every group of them ``iterations`` times."""
        return _Repeated(super().order, start, self.iterations, self.steps)

    def asked(self, index: int) -> Asked:
        """A question without replacements."""
        return Asked(index, *self.pairs[index])

    def _read(self, step: int, index: int) -> Asked:
        return Asked(index, *self.pairs[index], tuple(map(self.asked, self._others(step, index))))

    def _others(self, step: int, index: int) -> list[int]:
        """The replacements of a question. No question occurs twice in a step, for any split into micro-batches."""
        if not self.replacements:
            return []
        number = step // self.iterations
        if self._spare[0] != number:
            places = {own: place for place, own in enumerate(next(iter(super().order(number))))}
            mixed = np.random.default_rng((self.seed, number)).permutation(len(self.pairs))
            self._spare = number, places, [own for own in mixed.tolist() if own not in places]
        _, places, spare = self._spare
        return spare[places[index] :: len(places)][: self.replacements]

    def _collate(self, rows: list[Asked]) -> QuestionBatch:
        return QuestionBatch(tuple(rows), self.group)


class _Repeated(Iterable[list[int]]):
    def __init__(self, order: Callable[[int], Iterable[list[int]]], start: int, times: int, steps: int) -> None:
        self.order, self.start, self.times, self.steps = order, start, times, steps

    def __iter__(self) -> Iterator[list[int]]:
        number = self.start
        for step in self.order(self.start // self.times):
            for _ in range(self.times - number % self.times):
                if number < self.steps:
                    yield step
                number += 1
