"""The newline row: its first values, and its way through a bundle's plain values."""

from __future__ import annotations

import pytest
import torch

from inlay.adapters.parts.newline import NewlineConfig, NewlineRow, build_newline
from inlay.hub.errors import BundleError


def test_it_is_drawn_with_the_deviation_of_llava() -> None:
    torch.manual_seed(0)
    row = NewlineRow(NewlineConfig(width=4096)).row
    assert abs(float(row.detach().std()) - 4096**-0.5) < 1e-3


def test_plain_values_build_it() -> None:
    assert build_newline("newline", {"width": 8}, parameters=8).row.shape == (8,)


@pytest.mark.parametrize(("kind", "values"), [("row", {"width": 8}), ("newline", {"width": 0}), ("newline", {"w": 8})])
def test_untrusted_values_are_refused(kind: str, values: dict[str, int]) -> None:
    with pytest.raises(BundleError):
        build_newline(kind, values)


def test_another_number_of_parameters_is_refused() -> None:
    with pytest.raises(BundleError, match="has 8 parameters, expected 9 as in the manifest"):
        build_newline("newline", {"width": 8}, parameters=9)
