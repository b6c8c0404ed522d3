"""The mixture: square-root shares, whole rounds of every data set, and any position without the way there."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inlay.recipes.data import DataError
from inlay.recipes.data.sampling import mixture as module
from inlay.recipes.data.sampling.mixture import MixtureBatches, sqrt_shares

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@settings(max_examples=50)
@given(SIZES, st.integers(1, 5), st.integers(0, 40), st.integers(0, 20), st.integers(0, 2**40), st.booleans())
def test_any_position_is_reached_without_the_way_there(
    sizes: list[int], batch_size: int, batches: int, start: int, seed: int, whole: bool
) -> None:
    everything = list(MixtureBatches(sizes, batch_size, batches, seed, whole=whole))
    assert list(MixtureBatches(sizes, batch_size, batches, seed, start, whole=whole)) == everything[start:]
    assert [len(batch) for batch in everything] == [batch_size] * batches


def test_positions_far_behind_the_first_block_of_draws_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 7)
    everything = list(MixtureBatches([5, 9], 3, 40, 0))
    for start in range(40):
        assert list(MixtureBatches([5, 9], 3, 40, 0, start)) == everything[start:]


@settings(max_examples=30)
@given(SIZES, st.integers(0, 100))
def test_every_data_set_goes_round_without_leaving_one_out(sizes: list[int], seed: int) -> None:
    drawn = [index for batch in MixtureBatches(sizes, 4, 60, seed) for index in batch]
    for place, size in enumerate(sizes):
        first = sum(sizes[:place])
        own = [index for index in drawn if first <= index < first + size]
        for start in range(0, len(own) - size + 1, size):
            assert sorted(own[start : start + size]) == list(range(first, first + size))


def test_shares_are_the_square_roots() -> None:
    assert sqrt_shares([1, 4, 25]) == [1 / 8, 2 / 8, 5 / 8]


@pytest.mark.parametrize("whole", [False, True])
def test_data_sets_come_in_their_shares(whole: bool) -> None:
    batches = MixtureBatches([100, 10_000], 4, 4000, 0, whole=whole)
    drawn = Counter(index < 100 for batch in batches for index in batch)
    share = drawn[True] / (4 * 4000)
    assert share == pytest.approx(1 / 11, abs=4 * math.sqrt(1 / 11 * 10 / 11 / 4000))


def test_other_shares_may_be_given() -> None:
    drawn = Counter(index < 100 for batch in MixtureBatches([100, 100], 10, 400, 0, shares=[3, 1]) for index in batch)
    assert drawn[True] / 4000 == pytest.approx(0.75, abs=0.03)


def test_whole_batches_are_of_one_data_set() -> None:
    batches = [{index < 7 for index in batch} for batch in MixtureBatches([7, 9], 5, 50, 0, whole=True)]
    assert {len(batch) for batch in batches} == {1}
    assert {place for batch in batches for place in batch} == {True, False}


def test_seeds_and_rounds_differ() -> None:
    first, second = (list(MixtureBatches([50, 50], 10, 10, seed)) for seed in (0, 1))
    assert first != second
    rounds = [index for batch in MixtureBatches([40], 40, 2, 0) for index in batch]
    assert rounds[:40] != rounds[40:]


def test_equal_data_sets_do_not_walk_in_step() -> None:
    drawn = [index for batch in MixtureBatches([40, 40], 10, 40, 0) for index in batch]
    first = [index for index in drawn if index < 40][:40]
    second = [index - 40 for index in drawn if index >= 40][:40]
    assert first != second


def test_nothing_else_draws_from_or_moves_the_global_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(MixtureBatches([5, 6], 2, 10, 0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ([], {}),
        ([3, 0], {}),
        ([3, 0], {"shares": [1, 1]}),
        ([3, 4], {"shares": [1]}),
        ([3, 4], {"shares": [1, 0]}),
        ([3, 4], {"shares": [1, math.nan]}),
        ([3, 4], {"shares": [1, math.inf]}),
    ],
)
def test_empty_data_sets_and_shares_that_do_not_fit_are_errors(sizes: list[int], options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"expected (data sets with at least one|\d positive numbers)"):
        MixtureBatches(sizes, 2, 2, 0, **options)
