"""``--reward vqa,0.2*length``: names of rewards with weights. Imports nothing heavy."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from inlay.adapters.parts.registration import IMPORT_OWN, check_function
from inlay.recipes.rewards.registry import REWARDS, RewardError, reward_names
from inlay.recipes.settings.user_functions import place_of

__all__ = ["RewardSettings", "Term", "parse_terms", "user_function"]


@dataclass(frozen=True)
class Term:
    """One reward of a sum."""

    name: str
    """A registered name, or ``module:function``."""
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """The reward of an answer."""

    reward: str = "vqa"
    """exact (equals a right answer), vqa (accuracy with several human answers), choice (the right option), pope (yes or
    no), objects (named objects that are in the picture), length (limits of words), a registered reward, or
    your own module:function; several with weights: vqa,0.2*length."""
    objects: Path | None = None
    """objects: file of the object classes, one per line: class, synonym, synonym. Not needed for the miniature's own
    data."""
    min_words: int = 1
    """length: answers with fewer words are penalised."""
    max_words: int = 40
    """length: answers with more words are penalised."""

    def __post_init__(self) -> None:
        parse_terms(self.reward)
        if not 0 <= self.min_words <= self.max_words or self.max_words < 1:
            raise RewardError(
                f"min_words, max_words: expected 0 <= min_words <= max_words, got {self.min_words} and {self.max_words}"
            )
        if self.objects is not None and not self.objects.is_file():
            raise RewardError(f"objects: {self.objects}: no such file")

    @property
    def terms(self) -> tuple[Term, ...]:
        """The rewards with their weights."""
        return parse_terms(self.reward)


def parse_terms(text: str) -> tuple[Term, ...]:
    """Parse rewards and weights.

    Raises:
        RewardError: an unknown name, a name given twice, or a weight that is not a number other than 0.

    Example:
        >>> parse_terms("vqa, 0.5*length")
        (Term(name='vqa', weight=1.0), Term(name='length', weight=0.5))
    """
    terms = []
    for part in text.split(","):
        weight, star, name = part.rpartition("*")
        name = name.strip()
        try:
            number = float(weight) if star else 1.0
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not number:
            raise RewardError(f"reward: expected NAME or WEIGHT*NAME with a weight other than 0, got {part.strip()!r}")
        if ":" not in name and name not in reward_names():
            raise RewardError(
                f"reward: expected one of {', '.join(reward_names())}, or module:function; got {name!r}; {IMPORT_OWN}"
            )
        terms.append(Term(name, number))
    if len({term.name for term in terms}) != len(terms):
        raise RewardError(f"reward: expected each reward once, got {text!r}")
    return tuple(terms)


def user_function(name: str) -> Any:
    """Import the function of ``module:function``; modules in the working directory are found.

    Raises:
        RewardError: it cannot be imported, or is not a function of question, answer and sample.
    """
    if name in REWARDS:
        return REWARDS[name].score
    module, _, function = name.partition(":")
    if module.endswith(".py") or "/" in module:
        raise RewardError(
            f"reward {name}: expected MODULE:FUNCTION, got a file; for {Path(module).name} in the working directory: "
            f"{Path(module).stem}:{function}; for a file elsewhere: --import {module}, which calls register_reward"
        )
    place = str(Path.cwd())
    sys.path.insert(0, place)
    try:
        found = getattr(import_module(module), function, None)
    except Exception as error:
        line = f" ({place_of(error)})" if place_of(error) else ""
        raise RewardError(
            f"reward {name}: {module} cannot be imported: {type(error).__name__}: {error}{line}; name a module in the "
            "working folder or an installed one"
        ) from error
    finally:
        sys.path.remove(place)
    if not callable(found):
        raise RewardError(f"reward {name}: {module} has no function {function!r}; write it as module:function")
    check_function(f"reward {name}", found, "question", "answer", "sample")
    return found
