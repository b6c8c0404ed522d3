"""The matrices of single rows: shapes that models hand to a linear."""

from __future__ import annotations

import pytest
import torch

from inlay.adapters.llm_parts.lora_config import LoraError
from inlay.adapters.llm_parts.lora_rows import PerRow, RowMatrices


@pytest.fixture
def matrices() -> RowMatrices:
    torch.manual_seed(0)
    return RowMatrices(torch.randn(2, 4, 3), torch.randn(2, 3, 5))


@pytest.mark.parametrize("shape", [(2, 6, 4), (4, 3, 4), (12, 4)], ids=["rows", "beams", "flat"])
def test_the_first_half_is_the_first_rows(matrices: RowMatrices, shape: tuple[int, ...]) -> None:
    x = torch.randn(12, 4)
    expected = torch.cat([half @ matrices.downs[i] @ matrices.ups[i] for i, half in enumerate(x.chunk(2))])
    found = matrices.add(x.view(shape), torch.zeros(*shape[:-1], 5))
    torch.testing.assert_close(found.view(12, 5), expected)


def test_rows_laid_end_to_end_are_refused(matrices: RowMatrices) -> None:
    with pytest.raises(LoraError, match=r"a multiple of 2 rows, got an input of \[1, 6, 4\]"):
        matrices.add(torch.randn(1, 6, 4), torch.zeros(1, 6, 5))


def test_what_a_thread_uses_is_given_back(matrices: RowMatrices) -> None:
    rows = PerRow()
    assert rows.of("x") is None
    assert rows.replace({"x": matrices}) is None
    assert rows.of("x") is matrices
    assert rows.of("y") is None
    assert rows.replace(None) == {"x": matrices}
    assert rows.active == {}
