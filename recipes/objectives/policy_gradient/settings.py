"""Training on rewards as an objective: sampling, scoring, comparison and averaging of answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from inlay.recipes.objectives.policy_gradient.policy_loss import Averaging, PolicySettings
from inlay.recipes.rewards.terms import RewardSettings, user_function
from inlay.recipes.settings.objective import Objective, ObjectiveError

__all__ = ["Grpo", "Rloo"]


@dataclass(frozen=True, kw_only=True)
class Grpo(Objective):
    """GRPO: several sampled answers to each question, scored by a reward, and compared within their group.

    Shao et al., 2024, https://arxiv.org/abs/2402.03300; defaults as in TRL 1.16.
    """

    name: ClassVar[str] = "grpo"
    planner: ClassVar[str] = "inlay.recipes.objectives.policy_gradient.planning:policy_plan"
    aligns: ClassVar[bool] = True

    reward: str = "exact"
    """The reward: exact, vqa, choice, pope, objects, length, a registered name, or module:function; several with
    weights: vqa,0.2*length."""
    objects: Path | None = None
    """Reward objects: file of the object classes, one a line: class, synonym, synonym; ``--data.objects`` or the
    miniature's classes if empty."""
    group: int = 8
    """Sampled answers to each question."""
    temperature: float = 1.0
    """Of the sampling."""
    max_new_tokens: int | None = None
    """Limit of tokens of an answer; that of the reward if empty."""
    averaging: Averaging = "dapo"
    """Averaging of the losses of tokens: grpo, dapo, dr_grpo, rloo."""
    clip_low: float = 0.2
    """The ratio of probabilities is clipped below 1 minus this value."""
    clip_high: float = 0.2
    """The ratio of probabilities is clipped above 1 plus this value."""
    kl_weight: float = 0.0
    """Weight of the divergence from the adapter at the start; 0 needs no reference."""
    iterations: int = 1
    """Optimizer steps on the same answers; from the second step on the ratio differs from 1."""
    replacements: int = 0
    """DAPO's dynamic sampling: a question whose answers all have the same reward gives no gradient, so it is replaced
    by another question, up to this many times; 0 for never."""
    table: int = 4
    """Number of sampled answers of a step that are written to ``answers.jsonl`` next to ``metrics.csv``; 0 for none."""

    def __post_init__(self) -> None:
        _ = self.rewards, self.policy(1)
        if self.group < 2:
            raise ObjectiveError(f"{self.name}: group: expected at least 2 answers to compare, got {self.group}")
        if self.temperature <= 0:
            raise ObjectiveError(
                f"{self.name}: temperature: expected a number above 0, got {self.temperature}: equal answers "
                "have no gradient"
            )
        for name, least in (("iterations", 1), ("max_new_tokens", 1), ("replacements", 0), ("table", 0)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ObjectiveError(f"{self.name}: {name}: expected at least {least}, got {value}")

    @property
    def rewards(self) -> RewardSettings:
        """Names and weights of the rewards."""
        return RewardSettings(reward=self.reward, objects=self.objects)

    def sample_check(self, vocabulary: Any) -> Callable[[Any], str]:
        """Function from a sample to the reason why the reward cannot score the answers to one of its questions."""
        # Imported here, because settings are read before heavy libraries are loaded.
        from inlay.recipes.objectives.policy_gradient.questions import unscored
        from inlay.recipes.rewards.scoring import scorer_of

        return partial(unscored, scorer_of(self.rewards, vocabulary=vocabulary))

    def check_functions(self) -> None:
        """Import the rewards of the form ``module:function``."""
        for term in self.rewards.terms:
            if ":" in term.name:
                user_function(term.name)

    def policy(self, max_tokens: int) -> PolicySettings:
        """Settings of the policy loss.

        Args:
            max_tokens: limit of tokens of an answer.
        """
        return PolicySettings(
            averaging=self.averaging,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl_weight=self.kl_weight,
            max_tokens=max_tokens,
        )

    def check(self, stage: Any) -> None:
        """Check that the mean length of a step is known when its first micro-batch is trained on."""
        if self.averaging == "dapo" and stage.accumulate > 1:
            raise ObjectiveError(
                f"{self.name}: averaging dapo divides by all tokens of a step, which are not sampled yet when its "
                "first micro-batch is trained on; set accumulate to 1 and lower batch_size, or choose grpo or dr_grpo"
            )


@dataclass(frozen=True, kw_only=True)
class Rloo(Grpo):
    """RLOO: each answer is compared with the mean of the others.

    Ahmadian et al., 2024, https://arxiv.org/abs/2402.14740.
    """

    name: ClassVar[str] = "rloo"
    averaging: Averaging = "rloo"
    """Averaging of the losses of tokens; rloo uses the ratio of whole answers."""
