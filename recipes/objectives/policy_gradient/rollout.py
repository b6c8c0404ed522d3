"""Sampled answers with their rewards and advantages, the input of an optimizer step of training on rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.chat.answer_rows import answer_row
from inlay.adapters.chat.sample_groups import Group, sample_groups
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.core.branches import join_branches
from inlay.adapters.core.encode import Encoded
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.objectives.policy_gradient.advantages import centred, group_normalised, leave_one_out, undecided
from inlay.recipes.objectives.policy_gradient.policy_loss import Averaging
from inlay.recipes.objectives.policy_gradient.questions import Asked
from inlay.recipes.rewards.scoring import Scorer

__all__ = ["Roller", "Rollout", "advantages_of"]


@dataclass(frozen=True)
class Rollout:
    """Answers to the questions of one micro-batch, ``K`` to each of ``Q``."""

    replaced: tuple[int, ...]
    """Number of replacements of each question; the answers are those to the last one."""
    texts: tuple[tuple[str, ...], ...]
    ids: tuple[tuple[tuple[int, ...], ...], ...]
    """New tokens, the end included."""
    cut: tuple[tuple[bool, ...], ...]
    """Whether an answer was cut off at the limit of tokens."""
    rewards: Tensor
    """``[Q, K]`` float32."""
    log_probs: Tensor
    """``[n]``, log-probabilities of all tokens in order, when they were sampled."""
    sampled: Tensor
    """``[S, K]`` float32, the rewards of all sampled answers, including those to replaced questions."""

    def answered(self, asked: Sequence[Asked]) -> list[Asked]:
        """The questions of the answers: those of the micro-batch, or their replacements."""
        return [(own, *own.replacements)[count] for own, count in zip(asked, self.replaced, strict=True)]

    def decided(self) -> list[int]:
        """The groups with different rewards, which give a gradient; the first group if there are none."""
        return (~undecided(self.rewards)).nonzero()[:, 0].tolist() or [0]

    def part(self, places: Sequence[int]) -> Rollout:
        """The answers of some groups.

        Args:
            places: numbers of the groups.
        """
        pieces, size = torch.split(self.log_probs, self.lengths), self.rewards.shape[1]
        return replace(
            self,
            replaced=tuple(self.replaced[place] for place in places),
            texts=tuple(self.texts[place] for place in places),
            ids=tuple(self.ids[place] for place in places),
            cut=tuple(self.cut[place] for place in places),
            rewards=self.rewards[list(places)],
            log_probs=torch.cat([pieces[place * size + own] for place in places for own in range(size)]),
        )

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return dict(vars(self))

    @property
    def lengths(self) -> list[int]:
        """Tokens of each answer."""
        return [len(ids) for group in self.ids for ids in group]


class _Answers(NamedTuple):
    """Sampled answers to one question."""

    group: Group
    rewards: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Roller:
    """Samples and scores answers.

    Args:
        model: the attached model.
        layout: the layout of the conversations.
        scorer: the rewards.
        group: answers to each question.
        temperature: the temperature of the sampling.
        max_new_tokens: limit of tokens of an answer.
        features: cached features; None to run the encoders.
        join: whether the model supports several answers to one prompt in one row.
        seed: seed of the run.
    """

    model: AttachedModel
    layout: Layout
    scorer: Scorer
    group: int
    temperature: float
    max_new_tokens: int
    features: FeatureCache | None
    join: bool
    seed: int

    def roll(self, asked: Sequence[Asked], step: int, *, greedy: bool = False) -> Rollout:
        """Sample and score. A question whose answers all have the same reward is replaced while it has replacements.

        Args:
            asked: the questions.
            step: number of the optimizer step, which determines the random numbers.
            greedy: generate only the most likely answer to each question.

        Raises:
            RewardError: the reward function fails; the text names the row.
        """
        kept = self._sample(asked, step, greedy=greedy)
        replaced, sampled = [0] * len(asked), [own.rewards for own in kept]
        while not greedy:
            places = [
                place
                for place, (own, answers) in enumerate(zip(asked, kept, strict=True))
                if len(set(answers.rewards)) == 1 and replaced[place] < len(own.replacements)
            ]
            if not places:
                break
            fresh = self._sample([asked[place].replacements[replaced[place]] for place in places], step, greedy=False)
            for place, answers in zip(places, fresh, strict=True):
                kept[place] = answers
                replaced[place] += 1
            sampled += [own.rewards for own in fresh]
        return Rollout(
            replaced=tuple(replaced),
            texts=tuple(own.group.texts for own in kept),
            ids=tuple(own.group.ids for own in kept),
            cut=tuple(tuple(reason == "length" for reason in own.group.finish_reasons) for own in kept),
            rewards=torch.tensor([own.rewards for own in kept], dtype=torch.float32),
            log_probs=torch.cat([values for own in kept for values in own.group.log_probs]),
            sampled=torch.tensor(sampled, dtype=torch.float32),
        )

    def _sample(self, asked: Sequence[Asked], step: int, *, greedy: bool) -> list[_Answers]:
        groups = sample_groups(
            self.model,
            [own.question.prompt for own in asked],
            1 if greedy else self.group,
            temperature=0.0 if greedy else self.temperature,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed * 1_000_003 + step,
            numbers=[own.number for own in asked],
            features=self.features,
            layout=self.layout,
            names=[own.sample.id for own in asked],
            batch_size=max(1, len(asked)),
        )
        return [
            _Answers(group, tuple(self.scorer(own.question, text, own.sample).total for text in group.texts))
            for own, group in zip(asked, groups, strict=True)
        ]

    def rows(self, asked: Sequence[Asked], rollout: Rollout) -> list[Encoded]:
        """The rows for the LLM: each prompt once with all its answers, or each answer as a row.

        Args:
            asked: the questions that were answered, see :meth:`Rollout.answered`.
            rollout: the answers.
        """
        found: list[Encoded] = []
        whole = bool(self.model.backbone.llm.model.config.is_encoder_decoder)
        for own, answers in zip(asked, rollout.ids, strict=True):
            prompt = self.model.encode(own.question.prompt, layout=self.layout, generation=True, name=own.sample.id)
            rows = [answer_row(prompt, ids, encoder_decoder=whole) for ids in answers]
            joined = join_branches(rows, self.model.backbone.llm.context) if self.join and len(rows) > 1 else None
            found += rows if joined is None else [joined]
        return found


def advantages_of(rewards: Tensor, averaging: Averaging) -> Tensor:
    """The advantages ``[Q, K]`` for a kind of averaging."""
    if averaging == "rloo":
        return leave_one_out(rewards)
    return centred(rewards) if averaging == "dr_grpo" else group_normalised(rewards)
