"""One question, answers of one token: the gradient is known exactly, and training finds the rewarded tokens."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
import torch
from policy_questions import batch_of, stage
from torch import Tensor

from inlay.adapters.chat.answer_rows import answer_row
from inlay.adapters.chat.sample_groups import unsampled_tokens
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.policy_gradient.settings import Grpo, Rloo
from inlay.recipes.rewards.registry import register_reward


def half(_: Any, answer: str, __: Sample) -> float:
    """1 for about half of all texts."""
    return float(zlib.crc32(answer.encode()) % 2)


@pytest.fixture(autouse=True)
def bandit(own_registrations: None) -> None:
    register_reward("half", half, tokens=1)


def arms(module: Any, data: Any) -> tuple[Tensor, Tensor]:
    """Probability, with gradient, and reward of each token that can be drawn, ``[V]``."""
    (asked,) = batch_of(data, 1).asked
    roller, model = module.roller, module.model
    prompt = model.encode(asked.question.prompt, layout=roller.layout, generation=True)
    tokenizer = model.backbone.llm.tokenizer
    ends = {*model.backbone.llm.stop_ids, *model.turn_end(roller.layout).ids}
    forbidden = set(unsampled_tokens(model, ends))
    drawn = [token for token in range(len(tokenizer)) if token not in forbidden]
    found = model.log_probs(model.collate([answer_row(prompt, (token,)) for token in drawn], layout=roller.layout))
    texts = [tokenizer.decode([token], skip_special_tokens=True).strip() for token in drawn]
    rewards = torch.tensor([half(asked.question, text, asked.sample) for text in texts])
    return found.sums().exp(), rewards


def direction(loss: Tensor, module: Any) -> Tensor:
    trained = [parameter for parameter in module.adapter.parameters() if parameter.requires_grad]
    return torch.cat([value.flatten() for value in torch.autograd.grad(loss, trained)])


@pytest.mark.parametrize("kind", [Grpo, Rloo])
def test_the_gradient_is_that_of_the_expected_reward(made: Any, kind: type[Grpo]) -> None:
    """Leave-one-out is unbiased; GRPO divides by the standard deviation of the rewards."""
    module, data, _ = made(stage(kind(reward="half", group=2000), batch_size=1))
    module.train()
    chances, rewards = arms(module, data)
    assert float(chances.detach().sum()) == pytest.approx(1, abs=0.05)
    chances = chances / chances.sum()  # forbidden tokens are not drawn
    expected = direction(-(chances * rewards).sum(), module)
    mean = float(chances.detach() @ rewards)
    scale = 1.0 if kind is Rloo else (mean * (1 - mean)) ** -0.5
    found = direction(module.terms(batch_of(data, 1))["policy"].mean, module)
    assert float(torch.cosine_similarity(found, expected, dim=0)) > 0.9
    assert float(found @ expected / expected.square().sum() / scale) == pytest.approx(1, abs=0.2)


def test_the_rewarded_answers_are_found_in_a_few_dozen_steps(made: Any) -> None:
    module, data, _ = made(stage(Grpo(reward="half", group=16), batch_size=1))
    module.train()
    trained = [parameter for parameter in module.adapter.parameters() if parameter.requires_grad]
    optimizer, batch = torch.optim.Adam(trained, lr=5e-2), batch_of(data, 1)
    chances, rewards = arms(module, data)
    assert float(chances.detach() @ rewards) < 0.7
    for step in range(60):
        optimizer.zero_grad()
        module.roller.__dict__["seed"] = step  # another draw in each step
        module.terms(batch)["policy"].mean.backward()
        optimizer.step()
    chances, rewards = arms(module, data)
    assert float(chances.detach() @ rewards) > 0.9
