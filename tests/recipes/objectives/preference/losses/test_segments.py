"""Token weights: RLHF-V's changed segments and LD-DPO's tail."""

from __future__ import annotations

import difflib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inlay.recipes.objectives.preference.losses.segments import (
    changed_tokens,
    segment_weights,
    tail_weights,
    weighted_log_probs,
)
from inlay.recipes.objectives.preference.losses.streams import LossError


def released(a: list[int], b: list[int], least: int) -> tuple[list[int], list[int]]:
    """The rule of RLHF-V's released code on prompt and answers together, written down again."""
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    kept = [block for block in blocks[:-1] if block.size >= least] + [blocks[-1]]
    at_a, at_b, found = 0, 0, ([], [])
    for block in kept:
        if block.a > at_a and block.b > at_b:
            found[0].extend(range(at_a, block.a))
            found[1].extend(range(at_b, block.b))
        at_a, at_b = block.a + block.size, block.b + block.size
    return found


@given(st.lists(st.integers(0, 4), min_size=1, max_size=14), st.lists(st.integers(0, 4), min_size=1, max_size=14))
def test_positions_are_those_of_the_released_code_after_a_prompt(chosen: list[int], rejected: list[int]) -> None:
    prompt = list(range(100, 130))
    expected = released(prompt + chosen, prompt + rejected, 3)
    assert changed_tokens(chosen, rejected) == tuple([place - 30 for place in places] for places in expected)


def test_a_replaced_word_is_changed_in_both_answers() -> None:
    assert changed_tokens([1, 2, 3, 50, 7, 8, 9], [1, 2, 3, 60, 61, 7, 8, 9]) == ([3], [3, 4])


def test_an_inserted_word_is_not_counted() -> None:
    assert changed_tokens([1, 2, 3, 4, 5, 6], [1, 2, 3, 60, 4, 5, 6]) == ([], [])


def test_short_runs_of_equal_tokens_belong_to_the_change() -> None:
    assert changed_tokens([1, 50, 7, 51, 4, 5, 6], [1, 60, 7, 61, 4, 5, 6]) == ([1, 2, 3], [1, 2, 3])
    assert changed_tokens([1, 50, 7, 51, 4, 5, 6], [1, 60, 7, 61, 4, 5, 6], min_match=1) == ([1, 3], [1, 3])


def test_a_common_start_is_unchanged_however_short() -> None:
    assert changed_tokens([1, 50, 2], [1, 60, 2]) == ([1, 2], [1, 2])


def test_equal_answers_are_unchanged() -> None:
    assert segment_weights([1, 2, 3], [1, 2, 3]) == ([1.0] * 3, [1.0] * 3)


def test_frequent_tokens_of_long_answers_are_compared() -> None:
    chosen, rejected = [1, *[7] * 250, 3], [2, *[7] * 250, 4]
    assert changed_tokens(chosen, rejected) == ([0, 251], [0, 251])


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_is_above_0(weight: float) -> None:
    with pytest.raises(LossError, match="segment weight: expected a number above 0"):
        segment_weights([1], [2], weight)


def test_weighted_sums_ignore_positions_without_weight() -> None:
    log_probs = torch.tensor([[float("nan"), -1.0, -2.0], [-4.0, -8.0, -torch.inf]], requires_grad=True)
    sums, totals = weighted_log_probs(log_probs, torch.tensor([[0.0, 1.0, 3.0], [1.0, 1.0, 0.0]]))
    sums.sum().backward()
    assert sums.tolist() == [-7.0, -12.0]
    assert totals.tolist() == [4.0, 2.0]
    assert log_probs.grad.tolist() == [[0.0, 1.0, 3.0], [1.0, 1.0, 0.0]]


def test_the_tail_begins_after_the_shorter_answer() -> None:
    left = torch.tensor([[0, 0, 1, 1, 1, 1], [0, 1, 1, 0, 0, 0]]).bool()
    right = torch.tensor([[0, 1, 1], [1, 1, 1]]).bool()
    assert tail_weights(left, right, 0.5).tolist() == [[0, 0, 1, 1, 0.5, 0.5], [0, 1, 1, 0, 0, 0]]
    assert tail_weights(right, left, 0.5).tolist() == [[0, 1, 1], [1, 1, 0.5]]


def test_alpha_1_is_the_plain_sum() -> None:
    mask = torch.tensor([[0, 1, 1, 1]]).bool()
    assert torch.equal(tail_weights(mask, mask[:, :2], 1.0), mask.float())


def test_alpha_is_between_0_and_1() -> None:
    mask = torch.ones(1, 2).bool()
    with pytest.raises(LossError, match=r"ld_alpha: expected a number from 0 to 1, got 1\.5"):
        tail_weights(mask, mask, 1.5)
