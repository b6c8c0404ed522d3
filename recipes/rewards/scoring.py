"""The weighted sum of rewards of an answer; a function that fails or returns no finite number is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inlay.recipes.data.rows.sample import Question, Sample
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.rewards.builtin import built_in
from inlay.recipes.rewards.registry import REWARDS, Reward, RewardError, RewardFunction
from inlay.recipes.rewards.terms import RewardSettings, user_function
from inlay.recipes.settings.user_functions import calling, real_number

__all__ = ["Scored", "Scorer", "scorer_of"]


@dataclass(frozen=True)
class Scored:
    """The reward of an answer."""

    total: float
    """The weighted sum."""
    parts: dict[str, float]
    """Name -> reward, without its weight."""


@dataclass(frozen=True)
class Scorer:
    """Rewards with weights."""

    rewards: Mapping[str, tuple[float, Reward]]
    """Name -> weight and reward."""

    @property
    def tokens(self) -> int:
        """Maximum tokens of an answer, unless the references are longer."""
        return max(reward.tokens for _, reward in self.rewards.values())

    def problem(self, question: Question, sample: Sample) -> str:
        """Why a question cannot be scored; empty if it can."""
        for name, (_, reward) in self.rewards.items():
            with calling(f"reward {name}", reward.problem, _row(sample), kind=RewardError):
                why = reward.problem(question, sample)
            if why:
                return f"reward {name}: {why}"
        return ""

    def __call__(self, question: Question, answer: str, sample: Sample) -> Scored:
        """The reward of one answer.

        Raises:
            RewardError: a function fails or returns no finite number; the text names the row.
        """
        parts = {
            name: _checked(name, reward.score, question, answer, sample) for name, (_, reward) in self.rewards.items()
        }
        return Scored(sum(weight * parts[name] for name, (weight, _) in self.rewards.items()), parts)


def scorer_of(
    settings: RewardSettings | None = None,
    *,
    vocabulary: ObjectVocabulary | None = None,
    function: RewardFunction | None = None,
) -> Scorer:
    """The scorer for reward settings, or for one function.

    Args:
        settings: names, weights, limits.
        vocabulary: the object classes, if the settings name no file.
        function: replaces the settings: ``(question, answer, sample)`` -> number.

    Raises:
        RewardError: a function cannot be imported, or there are no classes for ``objects``.
        MetricError: the file of object classes cannot be read.
    """
    if function is not None:
        return Scorer({getattr(function, "__name__", "function"): (1.0, Reward(score=function, tokens=64))})
    chosen = settings or RewardSettings()
    held = ObjectVocabulary.coco(chosen.objects) if chosen.objects is not None else vocabulary
    if held is None and any(term.name == "objects" for term in chosen.terms):
        raise RewardError(
            "reward objects: expected the object classes; give --objects FILE, one class per line: class, synonym"
        )
    known = REWARDS | built_in(held, chosen.min_words, chosen.max_words)
    return Scorer(
        {
            term.name: (
                term.weight,
                known[term.name] if term.name in known else Reward(score=user_function(term.name), tokens=64),
            )
            for term in chosen.terms
        }
    )


def _checked(name: str, score: RewardFunction, question: Question, answer: str, sample: Sample) -> float:
    what, row = f"reward {name}", f"{_row(sample)}, answer {answer!r}"
    with calling(what, score, row, kind=RewardError):
        value: Any = score(question, answer, sample)
    return real_number(value, what, score, row, kind=RewardError)


def _row(sample: Sample) -> str:
    return f"{sample.origin or sample.id} (id {sample.id})"
