"""Chunked cross-entropy behind a frozen head: loss and gradients against torch's own, and what it keeps alive."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inlay.adapters.language.cross_entropy import frozen_cross_entropy
from inlay.adapters.language.lm_head import FrozenHead, RowScores

ROWS, WIDTH, VOCABULARY = 23, 12, 40


def make_head(*, bias: bool = False, places: list[int] | None = None, dtype: Any = torch.float32) -> FrozenHead:
    torch.manual_seed(0)
    rows = None if places is None else torch.randn(len(places), WIDTH, requires_grad=True)
    return FrozenHead(
        torch.randn(VOCABULARY, WIDTH).to(dtype),
        torch.randn(VOCABULARY).to(dtype) if bias else None,
        rows,
        None if places is None else torch.tensor(places),
    )


def reference(hidden: torch.Tensor, head: FrozenHead, targets: torch.Tensor) -> torch.Tensor:
    """The head's call on all rows, then torch's loss."""

    def own(states: torch.Tensor) -> torch.Tensor:
        return F.linear(states, head.weight.to(states.dtype), None if head.bias is None else head.bias.to(states.dtype))

    call = own if head.rows is None or head.places is None else RowScores(own, head.rows, head.places)
    return F.cross_entropy(call(hidden).float(), targets)


# Three rows beside the vocabulary, with a gap that nobody can write; and two in the place of words of the head.
@pytest.mark.parametrize("places", [None, [41, 42, 44], [3, 39]])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk", [None, 1, 5, ROWS])
def test_loss_and_gradients_are_torchs(places: Any, bias: bool, chunk: int | None) -> None:
    head = make_head(bias=bias, places=places)
    hidden = torch.randn(ROWS, WIDTH, requires_grad=True)
    targets = torch.randint(0, VOCABULARY, (ROWS,))
    if places is not None:
        targets[:4] = torch.tensor([places[0], places[-1], places[0], 3])
    wanted: list[torch.Tensor] = [hidden] if head.rows is None else [hidden, head.rows]
    slow = reference(hidden, head, targets)
    slow_gradients = torch.autograd.grad(slow * 3, wanted)
    fast = frozen_cross_entropy(hidden, head, targets, rows_at_once=chunk).mean()
    fast_gradients = torch.autograd.grad(fast * 3, wanted)
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=0)
    for ours, theirs in zip(fast_gradients, slow_gradients, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


def test_trained_rows_alone_get_their_gradient() -> None:
    head = make_head(places=[40, 41])
    targets = torch.tensor([40, 2, 41])
    hidden = torch.randn(3, WIDTH)
    frozen_cross_entropy(hidden, head, targets).mean().backward()
    assert head.rows is not None
    given, head.rows.grad = head.rows.grad, None
    reference(hidden, head, targets).backward()
    torch.testing.assert_close(given, head.rows.grad)


@pytest.mark.parametrize("places", [None, [41, 42, 44]])
def test_each_row_has_a_loss_and_a_weight_of_its_own(places: Any) -> None:
    head = make_head(places=places)
    hidden, targets = torch.randn(ROWS, WIDTH, requires_grad=True), torch.randint(0, VOCABULARY, (ROWS,))
    weights = torch.randn(ROWS)
    wanted: list[torch.Tensor] = [hidden] if head.rows is None else [hidden, head.rows]

    def own(states: torch.Tensor) -> torch.Tensor:
        return F.linear(states, head.weight)

    call = own if head.rows is None or head.places is None else RowScores(own, head.rows, head.places)
    slow = F.cross_entropy(call(hidden), targets, reduction="none")
    fast = frozen_cross_entropy(hidden, head, targets, rows_at_once=5)
    torch.testing.assert_close(fast, slow)
    ours = torch.autograd.grad((fast * weights).sum(), wanted)
    theirs = torch.autograd.grad((slow * weights).sum(), wanted)
    torch.testing.assert_close(ours, theirs)


def test_gradient_is_that_of_finite_differences() -> None:
    head = make_head(places=[40, 41])
    assert head.rows is not None
    table = torch.cat([head.weight, head.rows]).detach().double()
    hidden, targets = torch.randn(4, WIDTH, requires_grad=True), torch.tensor([1, 40, 7, 41])
    frozen_cross_entropy(hidden, head, targets, rows_at_once=3).mean().backward()
    assert hidden.grad is not None
    step = 1e-4
    for place in ((0, 0), (1, 5), (3, 11)):
        losses = []
        for sign in (1, -1):
            moved = hidden.detach().double()
            moved[place] += sign * step
            losses.append(-(moved @ table.t()).log_softmax(dim=1)[torch.arange(4), targets].mean().item())
        assert hidden.grad[place].item() == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_takes_the_softmax_in_float32(autocast: bool) -> None:
    exact_head = make_head(places=[40, 42])
    hidden = torch.randn(ROWS, WIDTH)
    targets = torch.randint(0, VOCABULARY, (ROWS,))
    states = (hidden if autocast else hidden.bfloat16()).requires_grad_()
    head = exact_head if autocast else make_head(places=[40, 42], dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = frozen_cross_entropy(states, head, targets, rows_at_once=5).mean()
    loss.backward()
    assert loss.dtype == torch.float32
    assert states.grad is not None
    assert states.grad.dtype == states.dtype
    assert head.rows is not None
    assert head.rows.grad is not None
    assert head.rows.grad.dtype == torch.float32
    exact = hidden.detach().clone().requires_grad_()
    slow = reference(exact, exact_head, targets)
    (expected,) = torch.autograd.grad(slow, exact)
    assert loss.item() == pytest.approx(slow.item(), rel=1e-2)
    assert float((states.grad.float() - expected).norm() / expected.norm()) < 2e-2


class Largest(TorchDispatchMode):
    """The most values that any result of an operation has."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.values = max([self.values, *sizes])
        return result


def test_no_tensor_of_all_scores_exists() -> None:
    rows, vocabulary, chunk = 64, 400, 4
    head, targets = FrozenHead(torch.randn(vocabulary, WIDTH)), torch.randint(0, vocabulary, (rows,))
    hidden = torch.randn(rows, WIDTH, requires_grad=True)
    with Largest() as fast:
        frozen_cross_entropy(hidden, head, targets, rows_at_once=chunk).mean().backward()
    with Largest() as slow:
        reference(hidden, head, targets).backward()
    assert fast.values == vocabulary * WIDTH < slow.values == rows * vocabulary


def test_without_gradient_nothing_is_kept() -> None:
    head, targets = make_head(), torch.randint(0, VOCABULARY, (ROWS,))
    hidden = torch.randn(ROWS, WIDTH)
    loss = frozen_cross_entropy(hidden, head, targets).mean()
    assert not loss.requires_grad
    torch.testing.assert_close(loss, reference(hidden, head, targets))
