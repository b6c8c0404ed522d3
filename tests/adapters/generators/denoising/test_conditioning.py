"""Conditioning that is not finite: whether its source or the generator's dtype is the cause."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.adapters.generators.denoising.conditioning import check_conditioning, check_given
from inlay.adapters.generators.protocol import GeneratorError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[1.0]], "conditioning: expected a tensor, got list"),
        (torch.zeros(2, 3), r"expected the shape \[n, 2, 3\], got \[2, 3\]"),
        (torch.zeros(()), r"expected the shape \[n, 2, 3\], got \[\]"),
        (torch.zeros(1, 2, 3, dtype=torch.long), "expected floating-point values, got torch.int64"),
    ],
)
def test_what_is_not_conditioning_is_refused(given: Any, said: str) -> None:
    with pytest.raises(GeneratorError, match=said):
        check_conditioning(given, "conditioning", 2, 3)


def test_nan_of_the_source_names_the_dtype_of_the_source() -> None:
    given = torch.full((1, 2, 3), float("nan"), dtype=torch.float16)
    with pytest.raises(GeneratorError, match="in the float16 tensor that was given; compute it"):
        check_given(given, given.float(), "conditioning")


def test_an_overflow_in_the_conversion_names_the_generator_s_dtype() -> None:
    given = torch.full((1, 2, 3), 1e6)
    with pytest.raises(GeneratorError, match=r"values up to 1e\+06 overflow float16, .* dtype=\"bfloat16\""):
        check_given(given, given.half(), "conditioning")
