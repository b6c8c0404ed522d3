"""The dtype of matrix products, and frozen weights in half precision."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from inlay.adapters.language.precision import computed_in, halve, precision_of


def test_products_are_computed_in_autocast_s_dtype_or_the_tensor_s_own() -> None:
    value = torch.zeros(1, dtype=torch.float16)
    assert computed_in(value) == torch.float16
    with torch.autocast("cpu", torch.bfloat16):
        assert computed_in(value) == torch.bfloat16


def test_what_trains_and_what_is_no_parameter_stays_in_float32() -> None:
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.BatchNorm1d(2))
    halve(model)
    assert model[0].weight.dtype == torch.bfloat16
    assert model[1].weight.dtype == model[1].running_mean.dtype == torch.float32


@pytest.mark.parametrize(
    ("marks", "kind"), [({}, None), ({"is_loaded_in_4bit": True}, "nf4"), ({"is_loaded_in_8bit": True}, "int8")]
)
def test_a_quantised_model_says_its_format(marks: dict[str, bool], kind: str | None) -> None:
    assert precision_of(SimpleNamespace(**marks)) == kind
