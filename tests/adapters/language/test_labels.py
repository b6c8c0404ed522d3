"""Labels and padding; both sides and the shift by one."""

from __future__ import annotations

import pytest
import torch

from inlay.adapters.language.labels import IGNORE, PadSide, labelled_rows, pad


@pytest.mark.parametrize(("side", "wanted"), [("left", [[1, 2], [0, 3]]), ("right", [[1, 2], [3, 0]])])
def test_rows_are_padded_on_the_side_that_is_asked_for(side: PadSide, wanted: list[list[int]]) -> None:
    assert pad([torch.tensor([1, 2]), torch.tensor([3])], 0, side).tolist() == wanted


def test_the_first_position_s_label_is_predicted_by_nothing() -> None:
    rows, targets = labelled_rows(torch.tensor([[5, IGNORE, 7], [IGNORE, 8, IGNORE]]))
    assert rows.tolist() == [[False, True, False], [True, False, False]]
    assert targets.tolist() == [7, 8]
