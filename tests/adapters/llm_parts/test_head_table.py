"""Statistics of a head's rows, with and without a plain matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from inlay.adapters.llm_parts.head_table import columns, head_columns, head_width


def test_columns_are_those_of_the_table() -> None:
    table = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    mean, deviation = columns(table)
    assert mean.tolist() == [2.0, 4.0]
    torch.testing.assert_close(deviation, table.std(dim=0))


@pytest.mark.parametrize("width", [8, 130])
def test_a_head_without_a_plain_matrix_is_asked_for_its_columns(width: int) -> None:
    torch.manual_seed(0)
    packed, plain = Conv1D(40, width), nn.Linear(width, 40, bias=False)
    nn.init.normal_(packed.bias)
    plain.weight.data = packed.weight.data.T.clone()
    like = torch.zeros(1)
    assert head_width(packed, width, like=like) == head_width(plain, width, like=like) == width
    found, expected = (head_columns(head, width, like=like) for head in (packed, plain))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_head_that_gives_no_scores_has_no_width() -> None:
    class Pair(nn.Module):
        def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
            return hidden, hidden

    assert head_width(Pair(), 8, like=torch.zeros(1)) is None
    assert head_width(Conv1D(40, 16), 8, like=torch.zeros(1)) is None
    assert head_width(nn.Linear(16, 40), 8, like=torch.zeros(1)) == 16
