"""Token weights: RLHF-V's changed segments and LD-DPO's tail."""

from __future__ import annotations

import difflib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inlay.recipes.objectives.preference.losses.segments import changed_tokens, token_weights


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


def test_frequent_tokens_of_long_answers_are_compared() -> None:
    chosen, rejected = [1, *[7] * 250, 3], [2, *[7] * 250, 4]
    assert changed_tokens(chosen, rejected) == ([0, 251], [0, 251])


def listed(chosen: list[int], rejected: list[int], **settings: float) -> list[list[float]]:
    """The weights of both answers."""
    return [weights.tolist() for weights in token_weights(torch.tensor(chosen), torch.tensor(rejected), **settings)]


def test_tokens_of_equal_answers_have_weight_1() -> None:
    assert listed([1, 2, 3], [1, 2, 3], segment_weight=3.0, tail=0.5) == [[1.0] * 3] * 2


def test_changed_tokens_have_the_weight_of_segments() -> None:
    assert listed([1, 50, 2], [1, 60, 2], segment_weight=3.0) == [[1, 3, 3], [1, 3, 3]]


@pytest.mark.parametrize("tail", [0.0, 0.5])
def test_the_tail_begins_after_the_shorter_answer(tail: float) -> None:
    assert listed([1, 2, 3, 4], [5, 6], tail=tail) == [[1, 1, tail, tail], [1, 1]]
    assert listed([5, 6], [1, 2, 3, 4], tail=tail) == [[1, 1], [1, 1, tail, tail]]


def test_changed_tokens_of_the_tail_have_the_product_of_both_weights() -> None:
    assert listed([1, 50, 51], [1, 60], segment_weight=3.0, tail=0.5) == [[1, 3, 1.5], [1, 3]]
