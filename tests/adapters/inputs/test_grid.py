"""Squares of a grid of features: their order, and the grids that are refused."""

from __future__ import annotations

import pytest
import torch

from inlay.adapters.inputs import ProjectorError
from inlay.adapters.inputs.grid import check_grid, squares_of


def test_squares_and_their_features_stand_in_reading_order() -> None:
    numbers = torch.arange(24.0).view(1, 24, 1)  # 4 rows, 6 columns
    found = squares_of(numbers, 2, rows=4)[0, :, :, 0].tolist()
    assert found[:3] == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    assert found[3:] == [[12, 13, 18, 19], [14, 15, 20, 21], [16, 17, 22, 23]]


def test_class_token_is_not_part_of_the_grid() -> None:
    features = torch.randn(2, 17, 3)
    assert torch.equal(squares_of(features, 2, class_token=True), squares_of(features[:, 1:], 2))


def test_factor_one_changes_nothing() -> None:
    features = torch.randn(2, 9, 3)
    assert torch.equal(squares_of(features, 1).flatten(1, 2), features)


@pytest.mark.parametrize(
    ("features", "factor", "rows", "message"),
    [
        (257, 2, 0, "expected a square grid of features, got 257; set rows .* or drop its special tokens"),
        (0, 2, 0, "expected a square grid of features, got 0"),
        (729, 4, 0, "sides factor = 4 divides, got 27 x 27 features; choose factor 3 or 9"),
        (169, 2, 0, "got 13 x 13 features; choose factor 13"),
        (361, 2, 0, "got 19 x 19 features; choose another image size"),
        (24, 2, 5, "expected a grid of 5 rows of features, got 24"),
        (24, 4, 4, "factor = 4 divides, got 4 x 6 features; choose factor 2"),
    ],
)
def test_grid_that_cannot_be_cut_is_refused_with_advice(features: int, factor: int, rows: int, message: str) -> None:
    with pytest.raises(ProjectorError, match=message):
        check_grid(features, factor, rows=rows)
