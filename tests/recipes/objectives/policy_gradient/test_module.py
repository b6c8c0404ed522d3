"""GRPO and RLOO: gradients against the formula, answers that repeat, and rewards that rise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from policy_questions import batch_of, gradients, stage
from step_ways import assert_same, way

from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.objectives.plan import Task
from inlay.recipes.objectives.policy_gradient.rollout import Rollout
from inlay.recipes.objectives.policy_gradient.settings import Grpo, Rloo
from inlay.recipes.rewards.registry import RewardError
from inlay.recipes.settings.objective import ObjectiveError


def close(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    for value, expected in zip(found, wanted, strict=True):
        assert float((value - expected).norm()) <= 1e-5 * float(expected.norm()) + 1e-8


def test_the_gradient_is_that_of_the_advantages(made: Any) -> None:
    """On fresh answers the loss of DAPO is the mean over tokens of -A log p."""
    module, data, _ = made(stage(Grpo(reward="vowels", group=3)))
    found = gradients(module, data)
    batch = batch_of(data)
    rollout = module.roller.roll(batch.asked, 0)
    rewards = rollout.rewards
    assert float(rewards.std(dim=1).min()) > 0
    advantages = ((rewards - rewards.mean(dim=1, keepdim=True)) / (rewards.std(dim=1, keepdim=True) + 1e-4)).flatten()
    rows = module.roller.rows(batch.asked, rollout)
    log_probs = module.model.log_probs(module.model.collate(rows, layout=module.roller.layout))
    loss = -(log_probs.sums() * advantages).sum() / len(log_probs.tokens)
    trained = [parameter for parameter in module.adapter.parameters() if parameter.requires_grad]
    close(found, list(torch.autograd.grad(loss, trained)))


@pytest.mark.parametrize("kind", [Grpo, Rloo])
def test_shared_prompts_have_the_gradients_of_plain_rows(made: Any, kind: type[Grpo]) -> None:
    settings = kind(reward="vowels", group=3)
    close(gradients(*made(stage(settings))[:2]), gradients(*made(stage(settings), join=False)[:2]))


def test_the_prompt_is_read_once_for_the_group(made: Any) -> None:
    module, data, _ = made(stage(Grpo(reward="vowels", group=4)))
    batch = batch_of(data)
    rows = module.roller.rows(batch.asked, module.roller.roll(batch.asked, 0))
    assert [len(row.branches) for row in rows] == [5, 5]


def test_a_group_longer_than_the_context_is_read_as_rows(made: Any) -> None:
    module, data, _ = made(stage(Grpo(reward="vowels", group=60), batch_size=1))
    assert module.model.backbone.llm.context < 60 * 5
    batch = batch_of(data, 1)
    rows = module.roller.rows(batch.asked, module.roller.roll(batch.asked, 0))
    assert [row.branches for row in rows] == [()] * 60
    assert float(module.terms(batch)["policy"].mean.detach()) == pytest.approx(0, abs=1)


def test_the_log_probabilities_of_sampling_are_those_of_training(made: Any) -> None:
    module, data, _ = made(stage(Grpo(reward="vowels", group=3)))
    module.train()
    batch = batch_of(data)
    rollout = module.roller.roll(batch.asked, 0)
    rows = module.roller.rows(batch.asked, rollout)
    found = module.model.log_probs(module.model.collate(rows, layout=module.roller.layout))
    torch.testing.assert_close(found.tokens.detach(), rollout.log_probs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("averaging", ["grpo", "dr_grpo", "rloo"])
def test_a_step_has_one_gradient(made: Any, tmp_path: Path, averaging: Any) -> None:
    settings = Grpo(reward="vowels", group=3, averaging=averaging, kl_weight=0.04)
    chosen = stage(settings, batch_size=4, epochs=2.0)
    one = way(made, chosen, 1, 1, tmp_path / "one", sgd=True, short=3)
    for processes, accumulate in [(1, 2), *([(2, 1)] if averaging == "grpo" else [])]:
        two = way(made, chosen, processes, accumulate, tmp_path / f"{processes}-{accumulate}", sgd=True, short=3)
        assert_same(one, two)


def test_processes_share_the_tokens_of_a_step(made: Any, tmp_path: Path) -> None:
    chosen = stage(Grpo(reward="vowels", group=3), batch_size=4, epochs=2.0)
    one = way(made, chosen, 1, 1, tmp_path / "one", sgd=True, short=0)
    assert_same(one, way(made, chosen, 2, 1, tmp_path / "two", sgd=True, short=0))


def test_micro_batches_of_dapo_are_refused() -> None:
    with pytest.raises(ObjectiveError, match="set accumulate to 1"):
        stage(Grpo(reward="vowels"), batch_size=4, accumulate=2)


def test_further_iterations_learn_from_the_same_answers(made: Any) -> None:
    module, data, _ = made(stage(Grpo(reward="vowels", group=3, iterations=2), epochs=2.0))
    assert data.steps == 8
    steps = list(data.order(0))
    assert steps[0::2] == steps[1::2]
    assert list(data.order(3)) == steps[3:]
    batch = batch_of(data)
    first = module._rollout(batch, 0)
    assert module._rollout(batch, 1) is first
    assert module._rollout(batch, 2) is not first


def test_answers_of_an_unfinished_iteration_are_in_the_checkpoint(made: Any) -> None:
    chosen = stage(Grpo(reward="vowels", group=3, iterations=2))
    module, data, _ = made(chosen)
    batch = batch_of(data)
    first = module._rollout(batch, 0)
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    again, _, _ = made(chosen)
    again.on_load_checkpoint(checkpoint)
    found = again._rollout(batch, 1)
    assert isinstance(found, Rollout)
    assert found.ids == first.ids
    assert torch.equal(found.rewards, first.rewards)


def test_the_reward_rises_and_is_logged(made: Any, tmp_path: Path) -> None:
    settings = Grpo(reward="vowels", group=8)
    way(made, stage(settings, batch_size=4, epochs=40.0, lr={"lora": 2e-2}), 1, 1, tmp_path, sgd=False, short=0)
    import csv

    (path,) = tmp_path.rglob("metrics.csv")
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("reward/mean")]
    names = {"reward/std", "reward/undecided", "answers/tokens", "policy/entropy", "policy/kl", "policy/clip_share"}
    assert names <= set(rows[0])
    assert float(rows[-1]["reward/mean"]) > float(rows[0]["reward/mean"]) + 0.1
    (table,) = tmp_path.rglob("answers.jsonl")
    first = json.loads(table.read_text().splitlines()[0])
    assert set(first) == {"step", "id", "question", "answer", "reward"}


def test_a_question_without_a_reference_is_refused(made: Any) -> None:
    with pytest.raises(DataError, match=r"pairs\.json, item 0: reward pope"):
        made(stage(Grpo(reward="pope")))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"group": 1}, "at least 2 answers"),
        ({"temperature": 0.0}, "have no gradient"),
        ({"iterations": 0}, "iterations: expected at least 1, got 0"),
        ({"replacements": -1}, "replacements: expected at least 0, got -1"),
    ],
)
def test_settings_that_cannot_teach_are_refused(fields: Any, told: str) -> None:
    with pytest.raises(ObjectiveError, match=told):
        Grpo(**fields)


def test_objects_are_scored_with_the_classes_of_the_run(backbone_of: Any, adapter_of: Any, rows: Any) -> None:
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    words = sorted({word for row in rows for word in row.messages[-1].text.lower().split() if word.isalpha()})
    own: dict[str, Any] = {"stage": stage(Grpo(reward="objects")), "sets": [rows], "show": lambda _: None}
    plan: Any = Grpo(reward="objects").plan(Task(model=model, vocabulary=ObjectVocabulary.of(words), **own))
    asked = plan.data.pairs[0]
    assert plan.module.roller.scorer(*asked[:1], asked[0].reference, asked[1]).total == 1.0
    with pytest.raises(RewardError, match="expected the object classes"):
        Grpo(reward="objects").plan(Task(model=model, **own))
