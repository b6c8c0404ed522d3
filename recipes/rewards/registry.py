"""The registry of rewards: verifiable scores of one answer, for preference pairs and for policy gradients.

``register_reward("short", lambda question, answer, sample: -len(answer))`` adds one; ``--reward vqa,0.2*short`` sums
several. Imports nothing heavy, so that a wrong name is reported at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from inlay.adapters.parts.registration import check_function, register
from inlay.hub.errors import InlayError

if TYPE_CHECKING:
    from inlay.recipes.data.rows.sample import Question, Sample

__all__ = [
    "BUILT_IN",
    "REWARDS",
    "Reward",
    "RewardError",
    "RewardFunction",
    "register_reward",
    "reward_names",
]

BUILT_IN = ("exact", "vqa", "choice", "pope", "objects", "length")

RewardFunction: TypeAlias = "Callable[[Question, str, Sample], float]"
"""Question, text of the answer, sample -> a finite number; more is better."""
Problem: TypeAlias = "Callable[[Question, Sample], str]"


class RewardError(InlayError):
    """A reward is unknown, cannot score a question, or raises an exception."""


def _no_problem(question: Question, sample: Sample) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Reward:
    """A reward; see :func:`register_reward`."""

    score: RewardFunction
    problem: Problem = _no_problem
    tokens: int = 16
    """Maximum tokens of an answer, unless the references are longer."""


REWARDS: dict[str, Reward] = {}
"""Name -> registered reward; built-in ones are in :mod:`inlay.recipes.rewards.builtin`."""


def register_reward(name: str, score: RewardFunction, *, problem: Problem = _no_problem, tokens: int = 16) -> None:
    """Register a reward for ``--reward NAME``; registering the same function again replaces it.

    Args:
        name: letters, digits, ``_``, ``-`` and ``.``.
        score: ``(question, answer, sample)`` -> a finite number; more is better.
        problem: ``(question, sample)`` -> the reason why a question cannot be scored; empty if it can.
        tokens: maximum tokens of an answer, unless the references are longer.

    Raises:
        RewardError: the name of a built-in reward, or tokens below 1.
        RegistrationError: functions that take other arguments, not a name, or the name of another reward.
    """
    if name in BUILT_IN:
        raise RewardError(f"reward {name!r} is built in; choose another name")
    if tokens < 1:
        raise RewardError(f"reward {name}: tokens: expected at least 1, got {tokens}")
    check_function(f"reward {name!r}: score", score, "question", "answer", "sample")
    check_function(f"reward {name!r}: problem", problem, "question", "sample")
    register(REWARDS, name, Reward(score=score, problem=problem, tokens=tokens), "reward", by="score")


def reward_names() -> list[str]:
    """All names."""
    return sorted({*BUILT_IN, *REWARDS})
