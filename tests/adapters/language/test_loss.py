"""Loss of models whose head is more than a frozen matrix; fast paths: ``test_fast_paths.py`` and ``packing/``."""

from __future__ import annotations

from types import MethodType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, mask with padding, labels."""
    torch.manual_seed(1)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    return torch.randn(2, 5, 32), mask, torch.randint(5, 40, (2, 5)).masked_fill(mask == 0, -100)


def own_scores(hidden: Tensor, head: Any) -> Tensor:
    return F.linear(hidden, head.weight) / 3


@pytest.mark.parametrize("how", ["scaled", "not called", "trains", "hook"])
@pytest.mark.parametrize("prune", [True, False])
def test_it_is_taken_of_the_model_s_own_scores(llm_of: Any, how: str, prune: bool) -> None:
    llm = llm_of("llama")
    embeddings, mask, labels = batch()
    own = type(llm.model).forward

    def forward(self: Any, **given: Any) -> Any:
        if how == "scaled":
            output = own(self, **given)
            output.logits = output.logits / 3
            return output
        output = self.model(**given)
        output.logits = own_scores(output.last_hidden_state, self.lm_head)
        return output

    if how in ("scaled", "not called"):
        llm.model.forward = MethodType(forward, llm.model)
    elif how == "trains":
        llm.model.lm_head.weight.requires_grad_(True)
    else:
        llm.model.lm_head.register_forward_hook(lambda _, __, scores: scores / 3)
    scores = llm.model(inputs_embeds=embeddings, attention_mask=mask).logits
    wanted = F.cross_entropy(scores[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(llm.loss(embeddings, mask, llm.plan(labels, mask), prune=prune), wanted)


def test_states_of_the_same_pass_are_those_of_all_positions(llm_of: Any) -> None:
    llm = llm_of("llama")
    embeddings, mask, labels = batch()
    plan = llm.plan(labels, mask)
    loss, states = llm.loss_and_states(embeddings, mask, plan)
    torch.testing.assert_close(loss, llm.loss(embeddings, mask, plan))
    torch.testing.assert_close(states, llm.states(embeddings, mask))
