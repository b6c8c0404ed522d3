"""Distances of conditioning, in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from inlay.adapters.outputs.losses import LossError, conditioning_distance, mse, per_token_l2


def test_the_papers_mse_is_a_norm_per_vector() -> None:
    given, target = torch.randn(3, 5, 16), torch.randn(3, 5, 16)
    by_hand = [
        math.sqrt(sum((float(a) - float(b)) ** 2 for a, b in zip(row, other, strict=True)))
        for row, other in zip(given.flatten(0, 1), target.flatten(0, 1), strict=True)
    ]
    assert per_token_l2(given, target).item() == pytest.approx(sum(by_hand) / 15, rel=1e-5)


def test_mse_is_torchs() -> None:
    given, target = torch.randn(3, 5, 16), torch.randn(3, 5, 16)
    torch.testing.assert_close(mse(given, target), torch.nn.functional.mse_loss(given, target))


def test_both_scale_as_their_names_say() -> None:
    given, target = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    double = target + 2 * (given - target)
    torch.testing.assert_close(per_token_l2(double, target), 2 * per_token_l2(given, target))
    torch.testing.assert_close(mse(double, target), 4 * mse(given, target))


def test_half_precision_is_compared_in_float32_and_the_target_learns_nothing() -> None:
    given = torch.randn(2, 3, 8, requires_grad=True)
    target = torch.randn(2, 3, 8, requires_grad=True)
    loss = conditioning_distance(given.bfloat16(), target.bfloat16(), "mse")
    loss.backward()
    assert loss.dtype == torch.float32
    assert given.grad is not None
    assert target.grad is None


def test_shapes_and_names_are_checked() -> None:
    with pytest.raises(LossError, match=r"\[2, 77, 768\] and \[2, 77, 1024\]"):
        conditioning_distance(torch.zeros(2, 77, 768), torch.zeros(2, 77, 1024))
    with pytest.raises(LossError, match="n > 0"):
        conditioning_distance(torch.zeros(0, 1, 4), torch.zeros(0, 1, 4))
    with pytest.raises(LossError, match="per_token_l2, mse"):
        conditioning_distance(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), "huber")
