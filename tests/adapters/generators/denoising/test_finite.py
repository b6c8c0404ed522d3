"""NaN and infinite values are found, and the error says what to do."""

from __future__ import annotations

import pytest
import torch

from inlay.adapters.generators.denoising.finite import check_finite
from inlay.adapters.generators.protocol import GeneratorError


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        (torch.float16, 'decoding: NaN or infinite values in float16; .* dtype="bfloat16" or dtype="float32"'),
        (torch.bfloat16, 'in bfloat16; load the generator with dtype="float32"'),
        (torch.float32, "in float32; lower guidance_scale, or check the conditioning and the weights"),
    ],
)
def test_one_value_among_many_names_the_dtype_and_the_remedy(value: float, dtype: torch.dtype, said: str) -> None:
    values = torch.zeros(3, 4, dtype=dtype)
    assert check_finite(values, "decoding") is values
    values[1, 2] = value
    with pytest.raises(GeneratorError, match=said):
        check_finite(values, "decoding")
