"""The plan of a stage that trains on rewards."""

from __future__ import annotations

from functools import partial

from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.objectives.policy_gradient.module import PolicyModule
from inlay.recipes.objectives.policy_gradient.questions import QuestionData, unscored
from inlay.recipes.objectives.policy_gradient.rollout import Roller
from inlay.recipes.objectives.policy_gradient.settings import Grpo
from inlay.recipes.objectives.preference.reference import FrozenCopy
from inlay.recipes.rewards.scoring import scorer_of

__all__ = ["policy_plan"]


def policy_plan(settings: Grpo, task: Task) -> Plan:
    """Plan a stage of training on rewards.

    Raises:
        DataError: a question that the reward cannot score.
        RewardError: the reward cannot be loaded.
    """
    model, stage = task.model, task.stage
    scorer = scorer_of(settings.rewards, vocabulary=task.vocabulary)
    ask = partial(QuestionData, stage=stage, group=settings.group, scorer=scorer, seed=task.seed)
    data = ask(task.sets, iterations=settings.iterations, replacements=settings.replacements)
    held_out = [row for row in task.validation if not unscored(scorer, row)]
    validation = ask([held_out]) if held_out else None
    roller = Roller(
        model=model,
        layout=stage.layout,
        scorer=scorer,
        group=settings.group,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens or scorer.tokens,
        features=task.features,
        join=model.reads_branches(),
        seed=task.seed,
    )
    module = PolicyModule(model, stage, data.steps, settings, roller, FrozenCopy(model), task.show)
    return Plan(module=module, data=data, validation=validation, answers=True)
