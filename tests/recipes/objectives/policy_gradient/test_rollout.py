"""Sampled answers: questions that teach nothing are replaced, and are not read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from policy_questions import batch_of, gradients, stage
from step_ways import assert_same, way

from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.policy_gradient.rollout import Rollout
from inlay.recipes.objectives.policy_gradient.settings import Grpo
from inlay.recipes.rewards.registry import register_reward
from inlay.recipes.training.callbacks.gradient_audit import GradientAudit


def some_vowels(_: Any, answer: str, sample: Sample) -> float:
    """Answers to the samples 0 and 1 have equal rewards."""
    return 0.0 if sample.id in "01" else sum(letter in "aeiou" for letter in answer) / max(1, len(answer))


@pytest.fixture(autouse=True)
def undecided_reward(own_registrations: None) -> None:
    register_reward("some_vowels", some_vowels, tokens=6)


def rolled(made: Any, batch_size: int = 2, **fields: Any) -> tuple[Any, Any, Rollout]:
    """Module, batch of the first step, and answers."""
    module, data, _ = made(stage(Grpo(reward="some_vowels", group=4, **fields), batch_size=batch_size))
    module.train()
    batch = data.collate([data.read(0, index) for index in next(iter(data.order(0)))])
    return module, batch, module.roller.roll(batch.asked, 0)


def test_by_default_no_question_is_replaced(made: Any) -> None:
    _, batch, rollout = rolled(made)
    assert rollout.replaced == (0, 0)
    assert rollout.answered(batch.asked) == list(batch.asked)


def test_a_question_with_equal_rewards_is_replaced_until_they_differ(made: Any) -> None:
    for batch_size in (1, 2):
        _, batch, rollout = rolled(made, batch_size, replacements=3)
        answered = rollout.answered(batch.asked)
        assert {own.sample.id for own in answered} <= {"2", "3"}
        assert len({own.number for own in answered}) == batch_size
        assert rollout.decided() == list(range(batch_size))
        assert len(rollout.sampled) == batch_size + sum(rollout.replaced)


def test_the_gradient_audit_waits_for_a_step_whose_rewards_differ(made: Any) -> None:
    module, data, _ = made(stage(Grpo(reward="some_vowels", group=4)))
    module.train()
    audit = GradientAudit()
    for indexes, done in (((0, 1), False), ((2, 3), True)):
        batch = data.collate([data.read(0, index) for index in indexes])
        assert {own.sample.id for own in batch.asked} == {str(index) for index in indexes}
        module.zero_grad()
        module.terms(batch)["policy"].mean.backward()
        audit.on_before_optimizer_step(cast("Any", None), module, cast("Any", None))
        assert audit.done is done


def test_answers_are_those_to_the_question_alone(made: Any) -> None:
    """They depend neither on the question that was replaced nor on the batch."""
    module, batch, rollout = rolled(made, replacements=3)
    plain = module.roller.roll(rollout.answered(batch.asked), 0)
    assert plain.ids == rollout.ids
    torch.testing.assert_close(plain.log_probs, rollout.log_probs, rtol=1e-4, atol=1e-5)


def test_replacements_are_limited_by_the_setting_and_by_the_data(made: Any) -> None:
    for setting, most in ((1, 1), (9, 1)):  # four questions, two of them in the step
        _, batch, _ = rolled(made, replacements=setting)
        assert [len(own.replacements) for own in batch.asked] == [most, most]


def test_a_step_has_no_question_twice(made: Any) -> None:
    _, data, _ = made(stage(Grpo(reward="vowels", group=2, replacements=2), batch_size=1, epochs=3.0))
    for number, step in enumerate(data.order(0)):
        asked = [data.read(number, index) for index in step]
        numbers = [own.number for each in asked for own in (each, *each.replacements)]
        assert len(numbers) == len(set(numbers)) == 3


def test_further_iterations_have_the_same_replacements(made: Any) -> None:
    _, data, _ = made(stage(Grpo(reward="vowels", group=2, replacements=1, iterations=2)))
    index = next(iter(data.order(2)))[0]
    assert data.read(2, index) == data.read(3, index)


def test_equal_rewards_are_not_read_again(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient is that of reading them: their advantages are 0."""
    settings = stage(Grpo(reward="some_vowels", group=4), batch_size=4)
    module, data, _ = made(settings)
    read: list[int] = []
    rows = type(module.roller).rows
    monkeypatch.setattr(type(module.roller), "rows", lambda *given: read.append(len(given[1])) or rows(*given))
    found = gradients(module, data, 4)
    monkeypatch.setattr(Rollout, "decided", lambda self: list(range(len(self.rewards))))
    wanted = gradients(*made(settings)[:2], count=4)
    assert read == [2, 4]
    for value, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-7)


def test_a_divergence_is_read_for_all_answers(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module, data, _ = made(stage(Grpo(reward="some_vowels", group=4, kl_weight=0.1)))
    read: list[int] = []
    rows = type(module.roller).rows
    monkeypatch.setattr(type(module.roller), "rows", lambda *given: read.append(len(given[1])) or rows(*given))
    gradients(module, data)
    assert read == [2]


def test_a_step_of_equal_rewards_changes_nothing(made: Any) -> None:
    module, data, _ = made(stage(Grpo(reward="some_vowels", group=3)))
    assert all(float(value.abs().max()) == 0 for value in gradients(module, data))  # the samples 0 and 1


def test_micro_batches_and_processes_have_the_same_replacements(made: Any, tmp_path: Path) -> None:
    settings = Grpo(reward="some_vowels", group=3, averaging="grpo", replacements=2)
    chosen = stage(settings, batch_size=2, epochs=2.0)
    one = way(made, chosen, 1, 1, tmp_path / "one", sgd=True, short=0)
    for processes, accumulate in [(1, 2), (2, 1)]:
        assert_same(one, way(made, chosen, processes, accumulate, tmp_path / f"{processes}", sgd=True, short=0))


def test_validation_asks_its_own_questions(made: Any) -> None:
    module, data, _ = made(stage(Grpo(reward="some_vowels", group=3, replacements=2)))
    rollout = module.roller.roll(batch_of(data).asked, 0, greedy=True)
    assert rollout.replaced == (0, 0)
    assert rollout.rewards.shape == (2, 1)
