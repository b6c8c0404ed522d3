"""Arguments of a generator that are refused, and those that are accepted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from inlay.adapters.generators.denoising.arguments import check_guidance, check_texts, check_whole, seeds_of
from inlay.adapters.generators.protocol import GeneratorError


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -0.1, "7.5", True, [7.5], None])
def test_guidance_that_is_not_a_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(GeneratorError, match="guidance_scale: expected a finite number from 0, got"):
        check_guidance(value)


@pytest.mark.parametrize("value", [0, 1, 7.5, np.float32(7.5), np.int64(3)])
def test_numbers_of_python_and_numpy_are_guidance(value: Any) -> None:
    assert check_guidance(value) == float(value)


@pytest.mark.parametrize("value", [0, 11, -1, 2.0, "3", True, None, math.nan])
def test_only_whole_numbers_within_the_bounds_pass(value: Any) -> None:
    with pytest.raises(GeneratorError, match="steps: expected a whole number from 1 to 10, got"):
        check_whole("steps", value, 1, 10)
    assert check_whole("steps", np.int32(10), 1, 10) == 10


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "12", True, {1, 2}, [1, -1], [1, 2**64], [1, "2"], [1, 2, 3]])
def test_seeds_that_no_source_of_random_numbers_takes_are_refused(seed: Any) -> None:
    with pytest.raises(GeneratorError, match="seed: expected"):
        seeds_of(seed, 2)


def test_the_last_seed_of_a_batch_must_fit_too() -> None:
    assert seeds_of(2**64 - 2, 2) == [2**64 - 2, 2**64 - 1]
    with pytest.raises(GeneratorError, match=f"from 0 to {2**64 - 2}, got {2**64 - 1}"):
        seeds_of(2**64 - 1, 2)


@pytest.mark.parametrize("texts", ["red", [1], None, [None], {"red": 1}])
def test_what_is_not_a_list_of_texts_is_refused(texts: Any) -> None:
    with pytest.raises(GeneratorError, match="texts: expected a list of strings"):
        check_texts(texts)
