"""Sums of log-probabilities over sequences."""

from __future__ import annotations

import torch

from inlay.adapters.core.results import TokenLogProbs


def test_a_sequence_without_labels_has_the_sum_zero() -> None:
    found = TokenLogProbs(torch.tensor([-1.0, -2.0]), torch.tensor([0, 2]), 3)
    assert found.sums().tolist() == [-1.0, 0.0, -2.0]
    assert found.counts.tolist() == [1, 0, 1]


def test_weights_are_of_tokens() -> None:
    found = TokenLogProbs(torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([0, 0, 1]), 2)
    assert found.sums(torch.tensor([3.0, 1.0, 0.5])).tolist() == [-5.0, -2.0]


def test_each_token_has_a_gradient_of_its_own() -> None:
    tokens = torch.tensor([-1.0, -2.0, -4.0], requires_grad=True)
    (TokenLogProbs(tokens, torch.tensor([0, 1, 1]), 2).sums() * torch.tensor([2.0, 3.0])).sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.tolist() == [2.0, 3.0, 3.0]


def test_padded_rows_keep_their_order_and_gradients() -> None:
    tokens = torch.tensor([-1.0, -2.0, -4.0], requires_grad=True)
    values, mask = TokenLogProbs(tokens, torch.tensor([0, 0, 1]), 2).padded()
    assert values.tolist() == [[-1.0, -2.0], [-4.0, 0.0]]
    assert mask.tolist() == [[True, True], [True, False]]
    values[1, 0].backward()
    assert tokens.grad is not None
    assert tokens.grad.tolist() == [0.0, 0.0, 1.0]
